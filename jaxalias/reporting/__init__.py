"""The report of a measurement.

Tables (`tables`), pictures (`pictures`), the Pareto front of a sweep (`pareto`), and an HTML page with audio players
(`page`, with its templates).
"""

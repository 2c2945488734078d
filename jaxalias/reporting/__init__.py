"""The report of a measurement.

Tables (`tables`), pictures (`pictures`), the Pareto front of a sweep (`pareto`), an HTML page with audio players
(`page`, with its templates), and a page that ranks many captures (`library`).
"""

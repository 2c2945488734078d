"""Training of a model from recordings of a device.

Sizes and settings of the models (`architectures`), the training loop (`training`), and virtual devices to record
(`devices`).
"""

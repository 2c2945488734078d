"""Training of a model from recordings of a device.

Sizes and settings of the models (`architectures`), the source of segments and the loss (`training`), and virtual
devices to record (`devices`).
"""

"""Subjects: the companies of the register. The smallest whole example of a service."""

"""Switches that really act on a model, its optimizer, its gradients or its data: causes and remedies alike."""

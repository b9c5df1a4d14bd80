"""Changes to a model, its optimizer, gradients or data: causes of instability and remedies."""

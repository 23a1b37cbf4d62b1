def predict(weights, x):
    """A polynomial: the weights are its coefficients, the constant one first."""
    return sum(weight * x**power for power, weight in enumerate(weights))

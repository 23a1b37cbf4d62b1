"""The network: an actor and a critic, two separate perceptrons.

The evaluation imports this file. It calls get_model_ready(rng, config), where config is train_config of config.yaml
with fields as attributes, then model.apply(params, observations, rng) for many observations at once, with the params
of each checkpoint. Both may be anything that returns the same kinds of things.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp


def get_model_ready(rng, config):
    """The model, and freshly initialised parameters."""
    model = ActorCritic(
        outputs=config.num_actions,
        continuous=config.network_name == "Gaussian-MLP",
        **config.network_config,
    )
    return model, model.init(rng, jnp.zeros((1, *config.observation_shape)), rng)


class ActorCritic(nn.Module):
    """apply(params, observations, rng) gives a value for each observation, of shape (n, 1), and their distribution."""

    outputs: int
    continuous: bool
    num_hidden_units: int
    num_hidden_layers: int
    scale: tuple = (1.0,)
    """What observations are multiplied by."""

    @nn.compact
    def __call__(self, observations, rng):
        flat = observations.reshape(observations.shape[0], -1) * jnp.array(self.scale)
        value = self.perceptron("critic", flat, 1)
        if self.continuous:
            both = self.perceptron("actor", flat, 2 * self.outputs)
            mean, spread = jnp.split(both, 2, axis=-1)
            return value, Gaussian(mean, jax.nn.softplus(spread) + 0.001)
        return value, Categorical(self.perceptron("actor", flat, self.outputs))

    def perceptron(self, name, x, outputs):
        start = nn.initializers.uniform(0.05)
        for layer in range(self.num_hidden_layers):
            x = nn.relu(nn.Dense(self.num_hidden_units, bias_init=start, name=f"{name}_{layer + 1}")(x))
        return nn.Dense(outputs, bias_init=start, name=f"{name}_out")(x)


class Categorical:
    """One of several actions."""

    def __init__(self, logits):
        self.logits = jax.nn.log_softmax(logits)

    def sample(self, seed):
        return jax.random.categorical(seed, self.logits)

    def log_prob(self, action):
        return jnp.take_along_axis(self.logits, action[..., None], axis=-1)[..., 0]

    def entropy(self):
        return -jnp.sum(jnp.exp(self.logits) * self.logits, axis=-1)


class Gaussian:
    """Numbers around a mean, independent of one another."""

    def __init__(self, mean, scale):
        self.mean, self.scale = mean, scale

    def sample(self, seed):
        return self.mean + self.scale * jax.random.normal(seed, self.mean.shape)

    def log_prob(self, action):
        z = (action - self.mean) / self.scale
        return jnp.sum(-0.5 * z**2 - jnp.log(self.scale) - 0.5 * jnp.log(2 * jnp.pi), axis=-1)

    def entropy(self):
        return jnp.sum(0.5 + 0.5 * jnp.log(2 * jnp.pi) + jnp.log(self.scale), axis=-1)

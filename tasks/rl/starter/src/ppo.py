"""Proximal policy optimisation: all of one update (acting, advantages, gradient steps) is one compiled function."""

import time
import warnings
from typing import Any, NamedTuple

import gymnax
import jax
import jax.numpy as jnp
import optax
from networks import get_model_ready

warnings.filterwarnings("ignore", module="jax")


class Training(NamedTuple):
    """What goes from one update to the next."""

    params: Any
    optimizer: Any
    environments: Any
    observations: Any
    returns: Any
    """Sum of the rewards of the episodes under way."""
    rng: Any


class Step(NamedTuple):
    """What is learnt from: for each frame and environment."""

    observation: Any
    action: Any
    log_prob: Any
    value: Any
    reward: Any
    done: Any


class PPO:
    """A trainer for one config. `reward_of(before, action, after, reward)` is what it learns from."""

    def __init__(self, config, reward_of=lambda before, action, after, reward: reward):
        self.config = config
        self.reward_of = reward_of
        self.env, params = gymnax.make(config.env_name, **config.env_kwargs)
        self.env_params = params.replace(**config.env_params)
        self.model, _ = get_model_ready(jax.random.PRNGKey(0), config)
        self.batch = config.num_train_envs * config.n_steps
        self.updates = max(1, int(config.num_train_steps) // self.batch)
        steps_of_optimizer = self.updates * config.epoch_ppo * config.n_minibatch
        self.optimizer = optax.chain(
            optax.clip_by_global_norm(config.max_grad_norm),
            optax.adam(
                optax.linear_schedule(
                    float(config.lr_begin), float(config.lr_end), max(1, int(steps_of_optimizer * config.lr_warmup))
                ),
                eps=1e-5,
            ),
        )
        self.reset = jax.jit(self._reset)
        self.update = jax.jit(self._update)

    def train(self, seed, deadline, report):
        """Parameters after all updates, or those that there are at the deadline (of time.monotonic)."""
        state = self.begin(seed)
        for number in range(1, self.updates + 1):
            state, mean = self.update(state)
            report(number * self.batch, self.updates * self.batch, float(mean))
            if time.monotonic() > deadline:
                break
        return state.params

    def begin(self, seed):
        """New parameters, and environments at the beginning of an episode."""
        rng, for_params, for_environments = jax.random.split(jax.random.PRNGKey(seed), 3)
        _, params = get_model_ready(for_params, self.config)
        return self.reset(params, rng, jax.random.split(for_environments, self.config.num_train_envs))

    def _reset(self, params, rng, keys):
        observations, environments = jax.vmap(self.env.reset, (0, None))(keys, self.env_params)
        returns = jnp.zeros(self.config.num_train_envs)
        state = Training(params, self.optimizer.init(params), environments, observations, returns, rng)
        # Some environments begin with other types of numbers than they go on with, which a loop cannot have.
        later = jax.eval_shape(self._frame, state, None)[0]
        return jax.tree.map(lambda value, like: jax.lax.convert_element_type(value, like.dtype), state, later)

    def _act(self, keys, environments, action):
        # An action of one number goes into the environment as a number.
        plain = action[..., 0] if action.ndim > 1 else action
        return jax.vmap(self.env.step, (0, 0, 0, None))(keys, environments, plain, self.env_params)

    def _update(self, state):
        state, (steps, ended) = jax.lax.scan(self._frame, state, None, self.config.n_steps)
        rng, for_value, for_learning = jax.random.split(state.rng, 3)
        last_value = self.model.apply(state.params, state.observations, for_value)[0][:, 0]
        advantages = self._advantages(steps, last_value)
        data = (steps, advantages, advantages + steps.value)
        data = jax.tree.map(lambda x: x.reshape(self.batch, *x.shape[2:]), data)

        def epoch(carry, key):
            order = jax.random.permutation(key, self.batch)
            parts = jax.tree.map(lambda x: x[order].reshape(self.config.n_minibatch, -1, *x.shape[1:]), data)
            return jax.lax.scan(self._learn, carry, (parts, jax.random.split(key, self.config.n_minibatch)))

        keys = jax.random.split(for_learning, self.config.epoch_ppo)
        (params, optimizer), _ = jax.lax.scan(epoch, (state.params, state.optimizer), keys)
        finished = jnp.sum(~jnp.isnan(ended))
        mean = jnp.where(finished > 0, jnp.nansum(ended) / finished, jnp.nan)
        state = state._replace(params=params, optimizer=optimizer, rng=rng)
        # Types without "weak" ones among them, as at the beginning: else all of this would be compiled once more.
        return jax.tree.map(lambda value: jax.lax.convert_element_type(value, value.dtype), state), mean

    def _frame(self, state, _):
        rng, for_model, for_action, for_step = jax.random.split(state.rng, 4)
        value, policy = self.model.apply(state.params, state.observations, for_model)
        action = policy.sample(seed=for_action)
        keys = jax.random.split(for_step, self.config.num_train_envs)
        observations, environments, reward, done, _ = self._act(keys, state.environments, action)
        returns = state.returns + reward
        learnt = self.reward_of(state.observations, action, observations, reward)
        step = Step(state.observations, action, policy.log_prob(action), value[:, 0], learnt, done)
        after = state._replace(
            environments=environments, observations=observations, returns=jnp.where(done, 0.0, returns), rng=rng
        )
        return after, (step, jnp.where(done, returns, jnp.nan))

    def _advantages(self, steps, last_value):
        def backwards(carry, step):
            advantage, next_value = carry
            going_on = 1.0 - step.done
            error = step.reward + self.config.gamma * next_value * going_on - step.value
            advantage = error + self.config.gamma * self.config.gae_lambda * going_on * advantage
            return (advantage, step.value), advantage

        start = (jnp.zeros_like(last_value), last_value)
        return jax.lax.scan(backwards, start, steps, reverse=True)[1]

    def _learn(self, carry, part):
        params, optimizer = carry
        gradients = jax.grad(self._loss)(params, *part)
        changes, optimizer = self.optimizer.update(gradients, optimizer, params)
        return (optax.apply_updates(params, changes), optimizer), None

    def _loss(self, params, data, key):
        steps, advantages, targets = data
        clip = self.config.clip_eps
        value, policy = self.model.apply(params, steps.observation, key)
        value = value[:, 0]
        near = steps.value + jnp.clip(value - steps.value, -clip, clip)
        value_loss = 0.5 * jnp.mean(jnp.maximum((value - targets) ** 2, (near - targets) ** 2))
        scaled = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        ratio = jnp.exp(policy.log_prob(steps.action) - steps.log_prob)
        policy_loss = -jnp.mean(jnp.minimum(ratio * scaled, jnp.clip(ratio, 1 - clip, 1 + clip) * scaled))
        entropy = jnp.mean(policy.entropy())
        return policy_loss + self.config.critic_coeff * value_loss - self.config.entropy_coeff * entropy

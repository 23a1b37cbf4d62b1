"""Train at rates at which BERT learns: python3 train.py"""

from baseline import Settings, train

if __name__ == "__main__":
    train(Settings(rate=2e-5, small_rate=1e-3, small_epochs=5))

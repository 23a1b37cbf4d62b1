"""Train the baseline: python3 train.py"""

from baseline import Settings, train

if __name__ == "__main__":
    train(Settings())

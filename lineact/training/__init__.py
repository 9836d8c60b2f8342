"""What the classifiers' stages share: settings, crops in memory, augmentation, the training loop, checkpoints."""

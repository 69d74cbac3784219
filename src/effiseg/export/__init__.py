"""Writing a trained model as a file for the engine that runs it, checked and measured."""

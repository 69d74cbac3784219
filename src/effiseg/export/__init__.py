"""Writing a trained model for the engines that run it: ONNX, OpenVINO, torch.export."""

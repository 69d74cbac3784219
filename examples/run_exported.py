"""Label a picture with an exported file, without effiseg and torch: NumPy, Pillow and ONNX Runtime are enough.

effiseg export runs/own --out own.onnx --output labels
python run_exported.py own.onnx picture.jpg labels.png
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image

file, picture, out = sys.argv[1:]
session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
facts = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
height, width = facts["effiseg.input_size"]
photo = Image.open(picture).convert("RGB")
scale = min(height / photo.height, width / photo.width)  # as trained: keep the ratio, pad at the right and below
size = (min(width, round(photo.width * scale)), min(height, round(photo.height * scale)))
canvas = Image.new("RGB", (width, height), (124, 116, 104))
canvas.paste(photo.resize(size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR))
(labels,) = session.run(None, {"images": np.asarray(canvas)[None]})  # uint8 in, uint8 out; normalization is inside
result = Image.fromarray(labels[0, : size[1], : size[0]]).resize(photo.size, Image.Resampling.NEAREST)
shares = np.bincount(np.asarray(result).ravel(), minlength=len(facts["effiseg.names"])) / (photo.width * photo.height)
print(*(f"{name}: {100 * share:.1f} %" for name, share in zip(facts["effiseg.names"], shares, strict=True)), sep="\n")
result.putpalette([part for color in facts["effiseg.palette"] for part in color])
result.save(out)

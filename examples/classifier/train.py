"""Trains the digit classifier of the example and writes what the example needs.

Data: the test half of "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak, 1998; UCI Machine Learning
Repository, CC BY 4.0), 1797 pictures of 8 by 8 pixels with 17 grades, which scikit-learn carries within itself.

Model: a perceptron with one hidden layer of 48, trained on the first 1437 pictures. It is written as ONNX by hand, with the
pixels as they are (0 to 16): Mul, Gemm, Relu, Gemm, Softmax.

    pip install numpy scikit-learn onnx
    python train.py .

writes `digits.onnx`, `digits.csv` (the other 360 pictures, 64 pixels and the true digit each) and `expected.csv` (the digit
that the model says and how sure it is, computed here with numpy).
"""

import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

TRAINED = 1437
SEED = 7


def model(weights):
    initializers = [numpy_helper.from_array(np.float32(1 / 16), "scale")]
    initializers += [numpy_helper.from_array(array, name) for name, array in weights.items()]
    nodes = [
        helper.make_node("Mul", ["pixels", "scale"], ["scaled"]),
        helper.make_node("Gemm", ["scaled", "w1", "b1"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["active"]),
        helper.make_node("Gemm", ["active", "w2", "b2"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["pictures", 64])
    probabilities = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["pictures", 10])
    graph = helper.make_graph(nodes, "digits", [pixels], [probabilities], initializers)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    made.producer_name = "cryptomesh examples"
    onnx.checker.check_model(made)
    return made


def forward(pixels, weights):
    hidden = np.maximum(pixels / np.float32(16) @ weights["w1"] + weights["b1"], 0)
    logits = hidden @ weights["w2"] + weights["b2"]
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def main(directory):
    digits = load_digits()
    pixels, truth = digits.data.astype(np.float32), digits.target
    network = MLPClassifier((48,), random_state=SEED, max_iter=2000, alpha=1e-3)
    network.fit(pixels[:TRAINED] / 16, truth[:TRAINED])
    names = ["w1", "w2", "b1", "b2"]
    arrays = [*network.coefs_, *network.intercepts_]
    weights = {name: array.astype(np.float32) for name, array in zip(names, arrays)}
    onnx.save(model(weights), directory / "digits.onnx")

    pictures, truth = pixels[TRAINED:], truth[TRAINED:]
    rows = [",".join(f"{int(pixel)}" for pixel in picture) + f",{digit}" for picture, digit in zip(pictures, truth)]
    (directory / "digits.csv").write_text("\n".join(rows) + "\n")
    probabilities = forward(pictures, weights)
    said, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    lines = [f"{digit},{percent:.3f}" for digit, percent in zip(said, sure)]
    (directory / "expected.csv").write_text("\n".join(lines) + "\n")
    print(f"{(said == truth).sum()} of {len(truth)} right")


main(pathlib.Path(sys.argv[1]))

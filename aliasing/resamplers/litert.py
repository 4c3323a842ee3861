"""LiteRT, formerly TensorFlow Lite: the operator ``RESIZE_BILINEAR`` of a converted ``image.resize``.

With ``antialias=True``, and with the method area or bicubic, the converter refuses: there is no such operator.
"""

from functools import lru_cache, partial
from typing import Any

import ai_edge_litert
import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from aliasing.resamplers import Resampler, named


@lru_cache(maxsize=32)
def _interpreter(given: tuple[int, ...], shape: tuple[int, ...], is_quantised: bool) -> Any:
    module = tf.Module()
    kind = tf.TensorSpec((1, *given), tf.float32)
    module.resize = tf.function(lambda pixels: tf.image.resize(pixels, shape), input_signature=[kind])
    converter = tf.lite.TFLiteConverter.from_concrete_functions([module.resize.get_concrete_function()], module)
    if is_quantised:
        levels = np.resize(np.arange(256, dtype=np.float32), (1, *given))
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: iter([[levels]])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
    interpreter = Interpreter(model_content=converter.convert(), num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def _resize(pixels: Any, shape: tuple[int, ...], _: str) -> Any:
    interpreter = _interpreter(pixels.shape, shape, pixels.dtype == np.uint8)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels[None])
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]


_call = partial(Resampler, library="LiteRT", version=ai_edge_litert.__version__, dtypes=("float32", "uint8"))
RESAMPLERS = named(_call(name="litert", function=_resize, antialias=False))

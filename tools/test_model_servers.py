#!/usr/bin/env python3
"""Runs the bundled model at real model servers from PyPI: tools/test_model_servers.py [SERVER...]

SERVER is `triton` (nvidia-pytriton, which contains Triton), `mlserver` or `kserve`; all of them if none is given. Each is installed into an
environment of its own in a temporary folder, and serves the graph that `stakeout models serve` has written, with ONNX Runtime. Checked are
`stakeout check`, `stakeout doctor`, and that the scores of the samples are those of this machine. STAKEOUT names the program.
"""

import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import textwrap
import venv

from servers import ROOT, answers, fail, free_port, need, start, start_broker, wait

STAKEOUT = os.environ.get("STAKEOUT", str(ROOT / "target/release/stakeout"))
NAME = "bundled-vision"
SIZE = 64
PACKAGES = {
    "triton": ["nvidia-pytriton", "onnxruntime", "numpy"],
    "mlserver": ["mlserver", "onnxruntime", "numpy"],
    "kserve": ["kserve", "onnxruntime", "numpy"],
}

# What each server runs. GRAPH, PORT and NAME are replaced.
TRITON = """
    import numpy as np, onnxruntime
    from pytriton.decorators import batch
    from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
    from pytriton.triton import Triton, TritonConfig

    session = onnxruntime.InferenceSession("GRAPH")

    @batch
    def infer(pixel_values):
        return {"image_embeds": session.run(["image_embeds"], {"pixel_values": pixel_values})[0]}

    with Triton(config=TritonConfig(grpc_port=PORT, http_port=HTTP, allow_metrics=False)) as triton:
        triton.bind(
            model_name="NAME",
            infer_func=infer,
            inputs=[Tensor(name="pixel_values", dtype=np.float32, shape=(3, SIZE, SIZE))],
            outputs=[Tensor(name="image_embeds", dtype=np.float32, shape=(-1,))],
            config=ModelConfig(max_batch_size=32, batcher=DynamicBatcher(max_queue_delay_microseconds=2000)),
        )
        triton.serve()
"""
MLSERVER = """
    import onnxruntime
    from mlserver import MLModel
    from mlserver.codecs import NumpyCodec
    from mlserver.types import InferenceRequest, InferenceResponse

    class Vision(MLModel):
        async def load(self):
            self.session = onnxruntime.InferenceSession("GRAPH")
            return True

        async def predict(self, payload: InferenceRequest) -> InferenceResponse:
            pixels = NumpyCodec.decode_input(payload.inputs[0])
            rows = self.session.run(["image_embeds"], {"pixel_values": pixels})[0]
            return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("image_embeds", rows)])
"""
KSERVE = """
    import onnxruntime
    from kserve import InferInput, InferOutput, InferResponse, Model, ModelServer

    class Vision(Model):
        def __init__(self):
            super().__init__("NAME")
            self.session = onnxruntime.InferenceSession("GRAPH")
            self.ready = True

        def get_input_types(self):
            return [{"name": "pixel_values", "datatype": "FP32", "shape": [-1, 3, SIZE, SIZE]}]

        def get_output_types(self):
            return [{"name": "image_embeds", "datatype": "FP32", "shape": [-1, -1]}]

        def predict(self, payload, headers=None, response_headers=None):
            rows = self.session.run(["image_embeds"], {"pixel_values": payload.inputs[0].as_numpy()})[0]
            output = InferOutput(name="image_embeds", shape=list(rows.shape), datatype="FP32")
            output.set_data_from_numpy(rows, binary_data=True)
            return InferResponse(model_name=self.name, infer_outputs=[output], response_id=payload.id)

    ModelServer(http_port=HTTP, grpc_port=PORT, workers=1).start([Vision()])
"""


def main():
    need("mosquitto")
    if not pathlib.Path(STAKEOUT).exists():
        fail(f"{STAKEOUT} does not exist: cargo build --release")
    for server in sys.argv[1:] or PACKAGES:
        with contextlib.ExitStack() as stack:
            folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stakeout-model-server-")))
            print(f"{server} {check(stack, folder, server)}: passed")


def check(stack, folder, server):
    """Returns the version of the server."""
    python = install(folder, server)
    run(STAKEOUT, "models", "serve", "bundled", "--triton", folder / "models", "--device", "cpu")
    port = free_port()
    log = {"triton": serve_script, "mlserver": serve_mlserver, "kserve": serve_script}[server](stack, folder, server, python, port)
    wait(lambda: answers(port), f"{server} listens", log)
    broker = free_port()
    start_broker(stack, folder, broker)
    configuration = folder / "stakeout.yaml"
    configuration.write_text(
        textwrap.dedent(
            f"""\
            mqtt: {{ url: mqtt://127.0.0.1:{broker} }}
            state_dir: state
            model: {{ id: bundled, server: "grpc://127.0.0.1:{port}", name: {NAME}, timeout: 30s }}
            label_sets:
              objects:
                template: a photo of {{}}
                background: [an empty scene, something else]
                labels: [red car, green tree, blue umbrella]
            sources: {{ inbox: {{ folder: ., watch: [objects] }} }}
            """
        )
    )
    # A server may listen before its model is loaded.
    wait(lambda: subprocess.run([STAKEOUT, "check", "--config", configuration], capture_output=True).returncode == 0, "the model is ready", log)
    findings = run(STAKEOUT, "doctor", "--config", configuration, code=None)
    if f"its model {NAME} scores pictures" not in findings:
        fail(f"doctor does not find the server:\n{findings}", log)
    compared = run(
        STAKEOUT, "models", "verify", "--config", configuration, "--min-cosine", "0.9999", "--min-agreement", "1", "--format", "json",
        ROOT / "models/bundled/samples",
    )  # fmt: skip
    apart = json.loads(compared)["score_difference"]["max"]
    if apart > 1e-4:
        fail(f"a score differs by {apart}", log)
    package = PACKAGES[server][0]
    return run(python, "-c", f"import importlib.metadata as m; print(m.version('{package}'))").strip()


def install(folder, server):
    environment = folder / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin/python"
    run(python, "-m", "pip", "install", "-q", *PACKAGES[server])
    return python


def filled(script, folder, port):
    values = {"GRAPH": folder / "models" / NAME / "1/model.onnx", "PORT": port, "HTTP": free_port(), "NAME": NAME, "SIZE": SIZE}
    text = textwrap.dedent(script)
    for name, value in values.items():
        text = text.replace(name, str(value))
    return text


def serve_script(stack, folder, server, python, port):
    """A server that is a program of its own."""
    script = folder / f"serve_{server}.py"
    script.write_text(filled({"triton": TRITON, "kserve": KSERVE}[server], folder, port))
    return start(stack, [python, script], folder, f"{server}.log")[1]


def serve_mlserver(stack, folder, server, python, port):
    """MLServer reads two files of settings, and a module with the model."""
    home = folder / "mlserver"
    home.mkdir()
    (home / "vision.py").write_text(filled(MLSERVER, folder, port))
    tensor = lambda name, shape: {"name": name, "datatype": "FP32", "shape": shape}
    settings = {
        "name": NAME,
        "implementation": "vision.Vision",
        "inputs": [tensor("pixel_values", [-1, 3, SIZE, SIZE])],
        "outputs": [tensor("image_embeds", [-1, -1])],
    }
    (home / "model-settings.json").write_text(json.dumps(settings))
    ports = {"http_port": free_port(), "grpc_port": port, "metrics_port": free_port(), "parallel_workers": 0}
    (home / "settings.json").write_text(json.dumps({"host": "127.0.0.1", **ports}))
    return start(stack, [python.parent / "mlserver", "start", home], folder, f"{server}.log", env={**os.environ, "PYTHONPATH": str(home)})[1]


def run(*command, code=0):
    done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if code is not None and done.returncode != code:
        fail(f"{' '.join(map(str, command))} ends with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()

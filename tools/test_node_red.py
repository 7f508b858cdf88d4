#!/usr/bin/env python3
"""Runs docs/node-red/flow.json in a real Node-RED with a real Mosquitto: tools/test_node_red.py [VERSION...]

Each VERSION (4.1 and 5.0 if none is given) is installed with npm into a temporary folder. The script publishes a picture and alerts as
stakeout does, and checks what leaves the flow: each alert once, with its picture, and with its text as it was published.
"""

import base64
import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile

from servers import ROOT, fail, free_port, need, start, start_broker, wait

VERSIONS = ["4.1", "5.0"]
LABEL = 'Tom & "Jerry" <cat>'
PICTURE = bytes([0xFF, 0xD8, 0xFF, 0xE0, 0, 1, 2, 3, 0xFF, 0xD9])


def main():
    need("node", "npm", "mosquitto_pub", "mosquitto_sub")
    for version in sys.argv[1:] or VERSIONS:
        with contextlib.ExitStack() as stack:
            folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stakeout-node-red-")))
            install(folder, version)
            check(stack, folder)
            installed = json.loads((folder / "node_modules/node-red/package.json").read_text())["version"]
            print(f"Node-RED {installed}: passed")


def install(folder, version):
    packages = [f"node-red@{version}"]
    if not is_new_enough(version):
        packages.append("node@22")
    command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), *packages]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"FAILED: npm does not install node-red@{version}:\n{done.stdout}")


def is_new_enough(version):
    """Node-RED 5 needs Node.js 22."""
    node = int(subprocess.run(["node", "--version"], stdout=subprocess.PIPE, text=True).stdout.lstrip("v").split(".")[0])
    return node >= 22 or int(version.split(".")[0]) < 5


def check(stack, folder):
    broker, admin = free_port(), free_port()
    start_broker(stack, folder, broker)
    (folder / "flows.json").write_text(json.dumps(probed(broker)))
    (folder / "settings.js").write_text(
        f"module.exports = {{ uiPort: {admin}, uiHost: '127.0.0.1', flowFile: 'flows.json', credentialSecret: false, telemetry: {{ enabled: false }} }};\n"
    )
    own = folder / "node_modules/.bin/node"
    node = str(own) if own.exists() else "node"
    _, log = start(stack, [node, "node_modules/node-red/red.js", "--userDir", ".", "--settings", "settings.js"], folder, "node-red.log")
    wait(lambda: "Started flows" in log.read_text() and "Connected to broker" in log.read_text(), "Node-RED starts the flow", log)
    _, left = start(stack, ["mosquitto_sub", "-p", str(broker), "-t", "probe/#", "-F", "%t %p"], folder, "left.log")
    wait(lambda: publish(broker, "probe/ready", b"yes") or "probe/ready yes" in left.read_text(), "the subscription", left)

    topic = "stakeout/door/porch/tom/alert"
    publish(broker, "stakeout/door/snapshot", PICTURE)
    for number, state in [(1, "raised"), (1, "raised"), (2, "cleared"), (3, "raised")]:
        snapshot = "stakeout/door/snapshot" if state == "raised" else None
        alert = {"version": 1, "id": f"id-{number}", "state": state, "source": "Door", "label": LABEL, "score": 0.83, "snapshot": snapshot}
        publish(broker, topic, json.dumps(alert).encode())
    found = lambda: [json.loads(line.split(" ", 1)[1]) for line in left.read_text().splitlines() if line.startswith("probe/alert ")]
    wait(lambda: any(alert["id"] == "id-3" for alert in found()), "the last alert leaves the flow", log, left)
    picture = base64.b64encode(PICTURE).decode()
    raised = lambda id: {"id": id, "text": f"{LABEL} at Door (score 0.83)", "picture": picture}
    expected = [raised("id-1"), {"id": "id-2", "text": None, "picture": None}, raised("id-3")]
    if found() != expected:
        fail(f"the flow gives\n{found()}\nand not\n{expected}", log)
    for word in ["circular", "[error]", "unknown"]:
        if word in log.read_text().lower():
            fail(f"Node-RED reports {word!r}", log)


def probed(broker):
    """The flow as it is shipped, with the port of the broker, and with nodes that publish what leaves it."""
    flow = json.loads((ROOT / "docs/node-red/flow.json").read_text())
    by_name = {node.get("name"): node for node in flow}
    config = next(node for node in flow if node["type"] == "mqtt-broker")
    config.update(broker="127.0.0.1", port=str(broker))
    tab = next(node["id"] for node in flow if node["type"] == "tab")
    code = (
        "const picture = msg.picture ? msg.picture.toString('base64') : null;\n"
        "return { topic: 'probe/alert', payload: JSON.stringify({ id: msg.payload.id, text: msg.text || null, picture }) };"
    )
    flow += [
        {"id": "probe0000000001", "type": "function", "z": tab, "name": "probe", "func": code, "outputs": 1, "wires": [["probe0000000002"]]},
        {"id": "probe0000000002", "type": "mqtt out", "z": tab, "name": "", "topic": "", "qos": "1", "retain": "", "broker": config["id"], "wires": []},
    ]
    by_name["in words"]["wires"][0].append("probe0000000001")
    by_name["raised or cleared"]["wires"][1].append("probe0000000001")
    return flow


def publish(port, topic, payload):
    subprocess.run(["mosquitto_pub", "-p", str(port), "-q", "1", "-t", topic, "-s"], input=payload, check=True)


if __name__ == "__main__":
    main()

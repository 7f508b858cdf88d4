#!/usr/bin/env python3
"""Checks packaging/kubernetes and packaging/compose: `tools/test_manifests.py [PROGRAM]`.

1. Every key, against what Kubernetes and Compose accept. The tables below have the keys that the manifests use, from the Kubernetes API
   reference v1.34 (kubernetes.io/docs/reference/kubernetes-api) and from the Compose specification (compose-spec.json).
2. That the parts belong together: selectors, volumes, ports, secrets, and the folders of the image that the Dockerfile names.
3. With PROGRAM: that `stakeout check` accepts the configurations, and that the program has the arguments of the container and of its probes.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent.parent
KUBERNETES, COMPOSE = HERE / "packaging/kubernetes", HERE / "packaging/compose"
PROGRAM = "/usr/bin/stakeout"

# --- What is accepted: a mapping of keys; a list with the form of its items; `dict` for any mapping; or a type -------------------

META = {"name": str, "labels": dict, "annotations": dict, "namespace": str}
TOP = {"apiVersion": str, "kind": str, "metadata": META}
PROBE = {"exec": {"command": [str]}, "httpGet": {"path": str, "port": object, "scheme": str, "httpHeaders": [dict]}, "initialDelaySeconds": int,
         "periodSeconds": int, "timeoutSeconds": int, "failureThreshold": int, "successThreshold": int}
CONTAINER = {
    "name": str, "image": str, "imagePullPolicy": str, "command": [str], "args": [str],
    "env": [{"name": str, "value": str, "valueFrom": {"fieldRef": {"fieldPath": str}, "secretKeyRef": {"name": str, "key": str}}}],
    "envFrom": [{"secretRef": {"name": str, "optional": bool}, "configMapRef": {"name": str, "optional": bool}, "prefix": str}],
    "ports": [{"name": str, "containerPort": int, "protocol": str}],
    "startupProbe": PROBE, "livenessProbe": PROBE, "readinessProbe": PROBE,
    "resources": {"requests": dict, "limits": dict},
    "securityContext": {"allowPrivilegeEscalation": bool, "readOnlyRootFilesystem": bool, "capabilities": {"drop": [str], "add": [str]}},
    "volumeMounts": [{"name": str, "mountPath": str, "readOnly": bool, "subPath": str}],
}
POD = {
    "terminationGracePeriodSeconds": int, "automountServiceAccountToken": bool, "nodeSelector": dict, "containers": [CONTAINER],
    "securityContext": {"runAsNonRoot": bool, "runAsUser": int, "runAsGroup": int, "fsGroup": int, "seccompProfile": {"type": str}},
    "volumes": [{"name": str, "configMap": {"name": str, "optional": bool}, "emptyDir": dict, "secret": {"secretName": str}}],
}
CLAIM = {"metadata": META, "spec": {"accessModes": [str], "storageClassName": str, "resources": {"requests": dict}}}
SELECTOR = {"matchLabels": dict}
KINDS = {
    ("v1", "ConfigMap"): TOP | {"data": dict},
    ("v1", "Secret"): TOP | {"type": str, "stringData": dict},
    ("v1", "Service"): TOP | {"spec": {"clusterIP": str, "selector": dict, "ports": [{"name": str, "port": int, "targetPort": object, "protocol": str}]}},
    ("policy/v1", "PodDisruptionBudget"): TOP | {"spec": {"maxUnavailable": object, "minAvailable": object, "selector": SELECTOR}},
    ("apps/v1", "StatefulSet"): TOP | {"spec": {
        "replicas": int, "serviceName": str, "podManagementPolicy": str, "updateStrategy": {"type": str}, "selector": SELECTOR,
        "template": {"metadata": META, "spec": POD}, "volumeClaimTemplates": [CLAIM]}},
    ("kustomize.config.k8s.io/v1beta1", "Kustomization"): TOP | {"resources": [str], "images": [{"name": str, "newName": str, "newTag": str}]},
}
SERVICE = {"image": str, "build": str, "restart": str, "depends_on": [str], "environment": dict, "volumes": [str], "ports": [str],
           "stop_grace_period": str, "read_only": bool, "cap_drop": [str], "security_opt": [str]}


def faults(value, form, place):
    """What is wrong with a part of a file."""
    if isinstance(form, dict):
        if not isinstance(value, dict):
            return [f"{place} is no mapping"]
        unknown = [f"{place}.{key} is unknown" for key in value if key not in form]
        return unknown + [fault for key, item in value.items() if key in form for fault in faults(item, form[key], f"{place}.{key}")]
    if isinstance(form, list):
        if not isinstance(value, list):
            return [f"{place} is no list"]
        return [fault for number, item in enumerate(value) for fault in faults(item, form[0], f"{place}[{number}]")]
    is_number = form is int and isinstance(value, bool)
    return [] if isinstance(value, form) and not is_number else [f"{place}: {value!r} is no {form.__name__}"]


def hold(condition, what):
    if not condition:
        sys.exit(f"FAILED: {what}")


def read(path):
    return yaml.safe_load(path.read_text())


def image_volumes():
    """The folders that the image has as volumes."""
    found = re.search(r'^VOLUME \[(.*)\]$', (HERE / "Dockerfile").read_text(), re.MULTILINE)
    return set(re.findall(r'"([^"]+)"', found[1]))


def variables(text):
    return set(re.findall(r"\$\{env:(\w+)\}", text))


# --- Kubernetes ------------------------------------------------------------------------------------------------------------------


def check_kubernetes():
    files = {path.name: read(path) for path in sorted(KUBERNETES.glob("*.yaml"))}
    for name, manifest in files.items():
        kind = (manifest["apiVersion"], manifest["kind"])
        hold(kind in KINDS, f"{name}: {kind} is unknown")
        found = faults(manifest, KINDS[kind], name)
        hold(not found, "\n".join(found))
    listed = files["kustomization.yaml"]["resources"]
    hold(sorted([*listed, "kustomization.yaml"]) == sorted(files), f"kustomization.yaml does not list every file: {listed}")

    whole = files["statefulset.yaml"]
    pod = whole["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    labels = pod["metadata"]["labels"]
    for name, selector in [
        ("statefulset.yaml", whole["spec"]["selector"]["matchLabels"]),
        ("service.yaml", files["service.yaml"]["spec"]["selector"]),
        ("disruption.yaml", files["disruption.yaml"]["spec"]["selector"]["matchLabels"]),
    ]:
        hold(selector.items() <= labels.items(), f"{name}: {selector} selects no pod")
    hold(whole["spec"]["serviceName"] == files["service.yaml"]["metadata"]["name"], "there is no such service")
    (port,) = container["ports"]
    (served,) = files["service.yaml"]["spec"]["ports"]
    hold(served["targetPort"] == port["name"], "the service leads to no port of the container")

    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    volumes |= {claim["metadata"]["name"]: claim for claim in whole["spec"]["volumeClaimTemplates"]}
    mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    hold(set(mounted.values()) == set(volumes), f"mounted are {mounted}, and there are {sorted(volumes)}")
    hold(image_volumes() <= set(mounted), f"the image writes to {image_volumes()}, and mounted are {sorted(mounted)}")
    hold(mounted["/etc/stakeout"] == "config" and volumes["config"]["configMap"]["name"] == files["configmap.yaml"]["metadata"]["name"], "no configuration")
    for folder in ("state", "cache"):
        hold("spec" in volumes[folder], f"{folder} is lost with its pod")

    text = files["configmap.yaml"]["data"]["stakeout.yaml"]
    secret = files["secret.yaml"]
    known = {one["name"] for one in container["env"]} | set(secret["stringData"])
    hold(container["envFrom"] == [{"secretRef": {"name": secret["metadata"]["name"]}}], "the secret is not used")
    hold(variables(text) == known, f"the configuration reads {sorted(variables(text))}, and the pod has {sorted(known)}")
    config = yaml.safe_load(text)
    hold(config["listen"]["address"].endswith(f":{port['containerPort']}"), "the service listens at another port")
    hold("POD_NAME" in config["mqtt"]["prefix"], "all pods would publish to the same topics")
    stop = int(container["args"][container["args"].index("--stop-timeout") + 1].rstrip("s"))
    hold(stop < pod["spec"]["terminationGracePeriodSeconds"], "a pod is killed before its service has stopped")
    print(f"kubernetes: {len(files)} manifests belong together")
    commands = [container["args"]]
    for name in ("startupProbe", "livenessProbe", "readinessProbe"):
        command = container[name]["exec"]["command"]
        hold(command[0] == PROGRAM, f"{name} runs {command[0]}")
        commands.append(command[1:])
    hold("--ready" in commands[-1], "a pod is ready before it watches")
    return text, secret["stringData"] | {"POD_NAME": "stakeout-0"}, commands


# --- Compose ---------------------------------------------------------------------------------------------------------------------


def check_compose():
    compose = read(COMPOSE / "compose.yaml")
    found = faults(compose, {"services": {"mosquitto": SERVICE, "stakeout": SERVICE}, "volumes": dict}, "compose.yaml")
    hold(not found, "\n".join(found))
    used, targets = set(), {}
    for name, service in compose["services"].items():
        hold(set(service.get("depends_on", [])) <= set(compose["services"]), f"{name} depends on a service that does not exist")
        for volume in service["volumes"]:
            source, target, *_ = volume.split(":")
            targets.setdefault(name, set()).add(target)
            if source.startswith("."):
                hold((COMPOSE / source).is_dir(), f"{name}: {source} does not exist")
            else:
                used.add(source)
        for port in service.get("ports", []):
            hold(port.startswith("127.0.0.1:"), f"{name}: {port} is open to other machines")
    hold(used == set(compose["volumes"]), f"used are {used}, and declared {sorted(compose['volumes'])}")
    program = compose["services"]["stakeout"]
    hold((COMPOSE / program["build"] / "Dockerfile").samefile(HERE / "Dockerfile"), "there is no Dockerfile to build from")
    hold(image_volumes() <= targets["stakeout"], f"the image writes to {image_volumes()}, and mounted are {targets['stakeout']}")
    text = (COMPOSE / "config/stakeout.yaml").read_text()
    hold(variables(text) == set(program["environment"]), "the configuration reads other variables")
    config = yaml.safe_load(text)
    port = config["listen"]["address"].split(":")[1]
    hold(program["ports"] == [f"127.0.0.1:{port}:{port}"], "the service listens at another port")
    hold(config["mqtt"]["url"].split("/")[2].split(":")[0] in compose["services"], "the broker has another name")
    print(f"compose: {len(compose['services'])} services belong together")
    return text, {"STAKEOUT_TOKEN": "0123456789abcdef"}


def check_broker():
    """The broker starts with its configuration, at another port and with another folder."""
    text = (COMPOSE / "mosquitto/mosquitto.conf").read_text()
    with tempfile.TemporaryDirectory() as folder:
        # A listener of port 0 is a unix socket.
        listener = f"listener 0 {folder}/socket"
        changed = text.replace("listener 1883", listener).replace("/mosquitto/data/", f"{folder}/")
        hold(changed.count(folder) == 2 and listener in changed, "mosquitto.conf has other lines")
        path = Path(folder) / "mosquitto.conf"
        path.write_text(f"user root\n{changed}")
        broker = subprocess.Popen(["/usr/sbin/mosquitto", "-c", path], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        said = ""
        for line in broker.stderr:
            said += line
            if "running" in line:
                break
        broker.terminate()
        said += broker.stderr.read()
        broker.wait()
        hold("running" in said, f"mosquitto does not start:\n{said}")


# --- The program -----------------------------------------------------------------------------------------------------------------


def check_program(program, text, environment, commands=()):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stakeout.yaml"
        path.write_text(text)
        done = subprocess.run([program, "check", "--offline", "--config", path], env=os.environ | environment, capture_output=True, text=True)
        hold(done.returncode == 0, f"the configuration has mistakes:\n{done.stderr}")
    for command in commands:
        done = subprocess.run([program, *command, "--help"], capture_output=True, text=True)
        hold(done.returncode == 0, f"the program does not accept {command}:\n{done.stderr}")


def check_mistakes_are_found():
    for value, form in [
        ({"kind": "Pod", "meta": {}}, TOP),
        ({"metadata": {"name": 1}}, TOP),
        ({"volumeMounts": [{"name": "a", "path": "/"}]}, CONTAINER),
        ({"volumeMounts": {"name": "a"}}, CONTAINER),
        ({"periodSeconds": True}, PROBE),
        ([], TOP),
    ]:
        hold(len(faults(value, form, "it")) == 1, f"{value} is accepted")


check_mistakes_are_found()
kubernetes = check_kubernetes()
compose = check_compose()
if Path("/usr/sbin/mosquitto").exists():
    check_broker()
if len(sys.argv) > 1:
    check_program(sys.argv[1], *kubernetes)
    check_program(sys.argv[1], *compose)
    print("the program accepts both configurations, and the arguments of the container and of its probes")

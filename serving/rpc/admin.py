"""ModelService: what is loaded, and the changing of it."""

from __future__ import annotations

from typing import Protocol

from google.protobuf.descriptor import MethodDescriptor

from mulde.v1 import common_pb2, model_pb2
from serving.registry.model import Model
from serving.registry.registry import Registry, Snapshot
from serving.rpc.handlers import Call, Run
from serving.rpc.request import Limits, next_token, read_page_size, read_token

_PAGE = 100
_BUILT_IN = ("head:", "tail:")


class Changes(Protocol):
    """Changes what is loaded, in this process or in all workers; see ``ModelManager``."""

    def load(self, name: str, version: str, pin: bool) -> tuple[str, str]:
        """Load and make current; the name and version that are current then."""

    def reload(self, name: str) -> tuple[str, str, bool]:
        """Make the newest current; name and version that are current then, whether it changed."""

    def unload(self, name: str, version: str) -> list[tuple[str, str]]:
        """Free; what was freed."""


class Administration:
    """The calls of ModelService."""

    def __init__(self, registry: Registry, changes: Changes, limits: Limits) -> None:
        """Tell of ``registry``, and change through ``changes``."""
        self._registry, self._changes, self._limits = registry, changes, limits

    def methods(self) -> dict[MethodDescriptor, Run]:
        """What runs each method."""
        service = model_pb2.DESCRIPTOR.services_by_name["ModelService"]
        runs: dict[str, Run] = {
            "ListModels": self.list_models,
            "GetModel": self.get_model,
            "LoadModel": self.load_model,
            "ReloadModel": self.reload_model,
            "UnloadModel": self.unload_model,
        }
        return {method: runs[method.name] for method in service.methods}

    def list_models(
        self, request: model_pb2.ListModelsRequest, call: Call
    ) -> model_pb2.ListModelsResponse:
        """What is loaded, and what could not be."""
        snapshot = self._registry.snapshot
        size = read_page_size(request.page_size, _PAGE)
        start = read_token(request.page_token, "models")
        keys = sorted({*snapshot.models, *snapshot.served_models.failures})
        models = [_listed(snapshot, *key) for key in keys[start : start + size]]
        token = next_token(start + size, "models") if start + size < len(keys) else ""
        return model_pb2.ListModelsResponse(models=models, next_page_token=token)

    def get_model(
        self, request: model_pb2.GetModelRequest, call: Call
    ) -> model_pb2.GetModelResponse:
        """One model, and the limits."""
        snapshot = self._registry.snapshot
        model = snapshot.pick(request.model.name, request.model.version)
        call.model = str(model)
        message = describe(snapshot, model)
        message.manifest_json = model.bundle.manifest.to_json()
        return model_pb2.GetModelResponse(model=message, limits=self._limits.message())

    def load_model(
        self, request: model_pb2.LoadModelRequest, call: Call
    ) -> model_pb2.LoadModelResponse:
        """Load a version and make it current."""
        name, version = self._changes.load(request.name, request.version, request.pin)
        return model_pb2.LoadModelResponse(model=self._told(name, version, call))

    def reload_model(
        self, request: model_pb2.ReloadModelRequest, call: Call
    ) -> model_pb2.ReloadModelResponse:
        """Make the newest version current."""
        name, version, changed = self._changes.reload(request.name)
        model = self._told(name, version, call)
        return model_pb2.ReloadModelResponse(model=model, changed=changed)

    def unload_model(
        self, request: model_pb2.UnloadModelRequest, call: Call
    ) -> model_pb2.UnloadModelResponse:
        """Free a version."""
        gone = self._changes.unload(request.name, request.version)
        versions = [common_pb2.ModelVersion(name=name, version=version) for name, version in gone]
        return model_pb2.UnloadModelResponse(unloaded=versions)

    def _told(self, name: str, version: str, call: Call) -> model_pb2.Model:
        snapshot = self._registry.snapshot
        model = snapshot.pick(name, version)
        call.model = str(model)
        return describe(snapshot, model)


def _listed(snapshot: Snapshot, name: str, version: str) -> model_pb2.Model:
    model = snapshot.models.get((name, version))
    if model is not None:
        return describe(snapshot, model)
    return model_pb2.Model(
        name=name,
        version=version,
        state=model_pb2.MODEL_STATE_FAILED,
        failure=snapshot.served_models.failures[name, version],
    )


def describe(snapshot: Snapshot, model: Model) -> model_pb2.Model:
    """A loaded version, without its manifest."""
    bundle, manifest = model.bundle, model.bundle.manifest
    current = snapshot.is_current(model)
    names = [] if bundle.types is None else list(bundle.types.names)
    return model_pb2.Model(
        name=model.name,
        version=model.version,
        state=model_pb2.MODEL_STATE_READY,
        current=current,
        pinned=current and snapshot.served_models.entries[model.name].pinned,
        created=manifest.created,
        family=manifest.family,
        dimension=manifest.dimension,
        entities=manifest.entities,
        relations=manifest.relations,
        has_known_facts=bundle.known is not None,
        has_probabilities=bundle.calibration is not None,
        types=[name for name in names if not name.startswith(_BUILT_IN)],
        bundle_bytes=sum(stamp.bytes for stamp in manifest.files.values()),
        test_mrr=manifest.quality.get("test", {}).get("total", {}).get("mrr"),
        index_recall_at_10=manifest.checks.get("recall@10"),
    )

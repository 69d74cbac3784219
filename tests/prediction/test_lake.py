"""Pictures labelled by actors of a real Ray cluster of two nodes on this machine."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from effiseg.config.cluster import ClusterConfig
from effiseg.config.evaluation import EvaluationConfig
from effiseg.config.export import ExportConfig
from effiseg.config.prediction import PredictionConfig
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.picture_sources import spec_of_pictures
from effiseg.data.shards.writing import shard_dataset
from effiseg.errors import DataError, UsageError
from effiseg.evaluation.evaluator import evaluate
from effiseg.evaluation.on_ray import evaluate_on_ray
from effiseg.export.exporter import export_model
from effiseg.files import read_json
from effiseg.inference import network
from effiseg.inference.framing import Framing
from effiseg.inference.network import load_network
from effiseg.inference.ray_pool import map_on_ray
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import from_pretrained, save_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.prediction.lake import LabelWorker, model_digest, predict_on_ray
from effiseg.prediction.lake_sources import LakePart
from effiseg.prediction.output_place import OutputPlace
from effiseg.prediction.predict import predict

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("ray")
pytest.importorskip("moto")
PICTURES = 22
BAD = "0007"
LONGEST = 800.0
"""Seconds that are waited for what takes ten on an idle machine."""


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """A bucket of moto's server on localhost, which the processes of the cluster are told of."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        import s3fs

        s3fs.S3FileSystem().mkdir("lake")
        yield "s3://lake"
    server.stop()


@pytest.fixture(scope="module")
def cluster(bucket: str) -> Iterator[str]:
    """The address of two nodes of one core each."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}
    import ray
    from ray.cluster_utils import Cluster

    nodes = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "object_store_memory": 2**27},
    )
    nodes.add_node(num_cpus=1, object_store_memory=2**27)
    ray.init(address=nodes.address, log_to_driver=False)
    yield nodes.address
    ray.shutdown()
    nodes.shutdown()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = SegFormer("b0", 3)
    network.metadata = ModelMetadata(names=("grey", "red", "blue"), image_size=(32, 64), resize="keep_ratio")
    folder = tmp_path_factory.mktemp("model") / "model"
    save_pretrained(network, folder)
    return str(folder)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures, of which one is none."""
    folder = tmp_path_factory.mktemp("pictures")
    generator = np.random.default_rng(0)
    for index in range(PICTURES):
        height, width = generator.integers(30, 60, 2).tolist()
        Image.fromarray(generator.integers(0, 256, (height, width, 3), np.uint8)).save(folder / f"{index:04d}.png")
    (folder / f"{BAD}.png").write_bytes(b"\x89PNG\r\n\x1a\n poisoned")
    return folder


def settings(model: str, source: Path | str, out: Path | str, **changes: Any) -> PredictionConfig:
    given = {
        "model": model,
        "source": [str(source)],
        "out": Path(out),
        "device": "cpu",
        "save": ["labels"],
        "batch_size": 2,
    }
    ray = {"on": "ray", "ray_address": "auto", "ray_part": 4, "ray_actors": 1}  # an actor takes seconds to start
    return PredictionConfig(**given | ray | changes)


@pytest.fixture(scope="module")
def plain(model: str, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """ID → label PNG of the command without a cluster."""
    out = tmp_path_factory.mktemp("plain") / "out"
    report = predict(settings(model, pictures, out, on="here"), model, out)
    assert report.images == PICTURES - 1
    return labels_in(out)


def labels_in(out: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in (out / "labels").iterdir()}


def test_files_are_those_of_the_plain_command(
    cluster: str, model: str, pictures: Path, plain: dict[str, bytes], tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    config = settings(model, pictures, tmp_path / "out", ray_actors=2)
    report = predict_on_ray(config, lambda *done: seen.append(done))
    assert labels_in(tmp_path / "out") == plain
    assert (report.images, list(report.unreadable)) == (PICTURES - 1, [str(pictures / f"{BAD}.png")])
    assert seen[-1] == (PICTURES, PICTURES)
    record = read_json(tmp_path / "out" / "prediction.json")
    assert record["images"] == PICTURES - 1
    assert list(record["unreadable"]) == list(report.unreadable)
    again = predict_on_ray(settings(model, pictures, tmp_path / "out", existing="skip"))
    assert (again.images, again.skipped, len(again.unreadable)) == (0, PICTURES, 1)
    with pytest.raises(UsageError, match="must be new or empty"):
        predict_on_ray(settings(model, pictures, tmp_path / "out"))
    with pytest.raises(UsageError, match="other settings"):
        predict_on_ray(settings(model, pictures, tmp_path / "out", existing="skip", flip=True))


@pytest.mark.heavy
def test_a_table_of_bytes_in_and_out(
    cluster: str, model: str, pictures: Path, plain: dict[str, bytes], tmp_path: Path, bucket: str
) -> None:
    """Also in a bucket, and from Hugging Face's form of a picture."""
    files = sorted(pictures.iterdir())
    rows = [{"image": {"bytes": path.read_bytes(), "path": path.name}, "name": path.stem} for path in files]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "in.parquet", row_group_size=8)
    out = f"{bucket}/tables"
    config = settings(model, tmp_path / "in.parquet", out, ray_id_column="name", ray_output="parquet")
    report = predict_on_ray(config)
    assert report.images == PICTURES - 1
    import s3fs

    names = sorted(s3fs.S3FileSystem().glob(f"{out}/*.parquet"))
    assert len(names) == 3
    found = [row for name in names for row in pq.read_table(io.BytesIO(s3fs.S3FileSystem().cat(name))).to_pylist()]
    assert {row["id"]: row["labels"] for row in found if row["error"] is None} == plain
    assert [row["id"] for row in found if row["error"] is not None] == [BAD]
    assert {row["model"] for row in found} == {model_digest(model)}
    assert all(sum(dict(row["areas"]).values()) == pytest.approx(1) for row in found if row["error"] is None)
    with pytest.raises(DataError, match="no column 'jpeg'"):
        predict_on_ray(settings(model, tmp_path / "in.parquet", tmp_path / "x", ray_column="jpeg"))


@pytest.mark.heavy
def test_shards_in_and_out(cluster: str, model: str, pictures: Path, plain: dict[str, bytes], tmp_path: Path) -> None:
    shard_dataset(spec_of_pictures(str(pictures)), tmp_path / "shards", shard_mb=0.02, processes=1)
    source = tmp_path / "shards" / "unlabeled-*.tar"
    report = predict_on_ray(settings(model, source, tmp_path / "out", ray_output="shards", batch_size=1))
    assert report.images == PICTURES - 1
    labels: dict[str, np.ndarray] = {}
    for path in (tmp_path / "out").glob("*.tar"):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".labels.png"):
                    data = tar.extractfile(member)
                    assert data is not None
                    labels[member.name.partition(".")[0]] = np.asarray(Image.open(data))
    assert sorted(labels) == sorted(plain)


def _killing_worker(marker: Path, threads: int) -> Callable[[int], int]:
    def work(part: int) -> int:
        if part == 5 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return part

    return work


@pytest.mark.heavy
def test_a_lost_actor_costs_nothing_but_time(cluster: str, tmp_path: Path) -> None:
    make = partial(_killing_worker, tmp_path / "killed")
    config = ClusterConfig(on="ray", ray_address="auto", ray_actors=1)
    assert sorted(map_on_ray(make, list(range(20)), config)) == list(range(20))
    assert (tmp_path / "killed").exists()


@pytest.mark.heavy
@pytest.mark.timeout(1700)
def test_a_killed_driver_goes_on_where_it_was(model: str, pictures: Path, tmp_path: Path) -> None:
    """The very same command, killed outright before it comes to a picture that takes long, and called again.

    Each call has a cluster of its own, which ends with it.
    """
    source, out = tmp_path / "pictures", tmp_path / "out"
    shutil.copytree(pictures, source)
    Image.new("RGB", (6000, 6000), (200, 60, 60)).save(source / "slow.png")
    words = [sys.executable, "-m", "effiseg", "predict", model, str(source), "--out", str(out), "--on", "ray"]
    words += ["--ray_actors", "1", "--ray_part", "2", "--batch_size", "2", "--device", "cpu", "--save", "labels"]
    words += ["--existing", "skip"]
    driver = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + LONGEST
        while len(list(out.glob("parts/*.json"))) < 2:
            assert driver.poll() is None, driver.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        driver.kill()
        driver.communicate()
    done = {path: path.stat().st_mtime_ns for path in out.glob("parts/*.json")}
    assert 2 <= len(done) < PICTURES // 2
    again = subprocess.run(words, capture_output=True, text=True, timeout=LONGEST, check=False)
    assert again.returncode == 1, again.stderr  # one picture is none
    assert f"{BAD}.png" in again.stderr
    assert "were there already" in again.stdout
    assert all(path.stat().st_mtime_ns == written for path, written in done.items())
    predict(settings(model, source, tmp_path / "uncut", on="here"), model, tmp_path / "uncut")
    assert labels_in(out) == labels_in(tmp_path / "uncut")


@pytest.mark.heavy
@pytest.mark.timeout(600)
@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_exported_files_run_in_actors(
    cluster: str, model: str, pictures: Path, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the threads of an actor, and the labels of the plain command."""
    file = export_model(from_pretrained(model), ExportConfig(tmp_path / f"model{suffix}")).file
    one, two = tmp_path / "one", tmp_path / "two"
    predict(settings(str(file), pictures, one, on="here"), str(file), one)
    report = predict_on_ray(settings(str(file), pictures, two))
    assert report.images == PICTURES - 1
    assert labels_in(two) == labels_in(one)
    given: list[int | None] = []
    load = network.load_exported

    def note_threads(path: Path, *, threads: int | None = None) -> Any:
        given.append(threads)
        return load(path, threads=threads)

    monkeypatch.setattr(network, "load_exported", note_threads)
    table = np.arange(256, dtype=np.uint8)
    worker = LabelWorker(
        settings(str(file), pictures, tmp_path / "own"), OutputPlace(str(tmp_path / "own")), table, "", 3
    )
    worker(LakePart("part", count=0))
    assert given == [3]


def test_counts_of_an_evaluation_are_added(cluster: str, model: str, colour_data: Path, tmp_path: Path) -> None:
    spec = load_dataset_spec(colour_data)
    one = evaluate(load_network(model, device="cpu"), Framing(batch_size=2), spec, "train", boundary=True)
    config = EvaluationConfig(
        model=model,
        data=str(colour_data),
        split="train",
        batch_size=2,
        device="cpu",
        on="ray",
        ray_address="auto",
        ray_part=4,
        ray_actors=1,
    )
    two = evaluate_on_ray(config, model, spec)
    assert two.to_dict() == one.to_dict()


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"existing": "overwrite"}, "goes on or begins anew"),
        ({"ray_output": "parquet", "save": ["color"]}, "holds labels alone"),
        ({"out": Path("gs://b/x")}, "must be a folder, file:// or s3://"),
        ({"source": ["a.tar", "b.png"]}, "labelled alone"),
        ({"source": ["none.parquet"]}, "no Parquet file that can be read"),
    ],
)
def test_one_line_for_what_is_wrong(changes: dict[str, Any], line: str, model: str, tmp_path: Path) -> None:
    with pytest.raises((UsageError, DataError), match=line) as caught:
        predict_on_ray(replace(settings(model, "none", tmp_path / "out"), **changes))
    assert "\n" not in str(caught.value)

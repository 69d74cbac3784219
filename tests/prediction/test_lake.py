"""Pictures labelled by actors of a real Ray cluster of two nodes on this machine."""

from __future__ import annotations

import io
import os
import signal
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from effiseg.config.cluster import ClusterConfig
from effiseg.config.evaluation import EvaluationConfig
from effiseg.config.prediction import PredictionConfig
from effiseg.data.dataset_spec import load_dataset_spec
from effiseg.data.picture_sources import spec_of_pictures
from effiseg.data.shards.writing import shard_dataset
from effiseg.errors import DataError, UsageError
from effiseg.evaluation.evaluator import evaluate
from effiseg.evaluation.on_ray import evaluate_on_ray
from effiseg.files import read_json
from effiseg.inference.framing import Framing
from effiseg.inference.network import load_network
from effiseg.inference.ray_pool import map_on_ray
from effiseg.models.metadata import ModelMetadata
from effiseg.models.pretrained import save_pretrained
from effiseg.models.segformer import SegFormer
from effiseg.prediction.lake import model_digest, predict_on_ray
from effiseg.prediction.predict import predict

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
pytest.importorskip("ray")
pytest.importorskip("moto")
PICTURES = 22
BAD = "0007"


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
    return PredictionConfig(**given | {"on": "ray", "ray_address": "auto", "ray_part": 4} | changes)


@pytest.fixture(scope="module")
def plain(model: str, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """ID → label PNG of the command without a cluster."""
    out = tmp_path_factory.mktemp("plain") / "out"
    report = predict(settings(model, pictures, out, on="here"), model, out)
    assert report.images == PICTURES - 1
    return {path.stem: path.read_bytes() for path in (out / "labels").iterdir()}


def test_files_are_those_of_the_plain_command(
    cluster: str, model: str, pictures: Path, plain: dict[str, bytes], tmp_path: Path
) -> None:
    seen: list[tuple[int, int]] = []
    report = predict_on_ray(settings(model, pictures, tmp_path / "out"), lambda *done: seen.append(done))
    assert {path.stem: path.read_bytes() for path in (tmp_path / "out" / "labels").iterdir()} == plain
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


def test_a_lost_actor_costs_nothing_but_time(cluster: str, tmp_path: Path) -> None:
    from functools import partial

    make = partial(_killing_worker, tmp_path / "killed")
    config = ClusterConfig(on="ray", ray_address="auto")
    assert sorted(map_on_ray(make, list(range(20)), config)) == list(range(20))
    assert (tmp_path / "killed").exists()


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

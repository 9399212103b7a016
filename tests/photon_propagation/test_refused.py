"""Every error of the propagator, in one line that names the key or the file."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from photon_propagation import cli, detector, hits, ice, opencl, settings, world
from submit.runtime.exit_codes import BadInput, BadMachine

HEADER = "alpha = 1\nkappa = 1\nA = 7000\nB = 6600\ng = 0.9\nf_SL = 0.4\n"


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("source.knd=point", "source.knd: not a key of the configuration; did you mean kind?"),
        ("sorce.kind=point", "sorce: not a section of the configuration; did you mean source?"),
        ("source.kind=flash", "source.kind: 'flash'; one of point, beam, track, cascade"),
        ("source.kind=''", "source.kind: ''; one of point"),
        ("ice.table=''", "ice.table: ''; layered or uniform"),
        ("source.energy_gev=0", "source.energy_gev: 0.0; 1.0 to 1000000000.0"),
        ("source.energy_gev=nan", "source.energy_gev: nan; 1.0 to"),
        ("source.energy_gev=warm", "source.energy_gev: 'warm'; a number"),
        ("source.wavelength_nm=200", "source.wavelength_nm: 200.0; 0, or 300 to 600"),
        ("run.seed=-1", "run.seed: -1; 0 to"),
        ("run.seed=true", "run.seed: True; a whole number"),
        ("run.next=1e6", "run.next: 1000000.0; a whole number"),
        ("run.batch=0", "run.batch: 0; 1 to"),
        ("detector.angular=[]", "detector.angular: []; a list of 1 to 16 numbers"),
        ("detector.angular=['a']", "detector.angular: ['a']; a list of 1 to 16 numbers"),
        ("detector.angular=[inf]", "detector.angular: [inf]; a list"),
        ("nothing", "--set nothing: no assignment; section.key=value"),
    ],
    ids=lambda value: value if "=" in value and ";" not in value else "",
)
def test_a_setting(assignment: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--out", "nowhere", "--set", assignment]) == 65
    line = capsys.readouterr().err
    assert line.startswith(said) and line.count("\n") == 1
    assert not Path("nowhere").exists()


def test_photons_that_end_before_they_begin() -> None:
    with pytest.raises(BadInput, match=r"run\.next: 5; more than run\.first, which is 5; --set run\.next=6"):
        settings.load(None, ["run.first=5", "run.next=5"])


def test_a_settings_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    for text, said in (
        ("[run", "not TOML"),
        ("seed = 3", "seed: outside of a section, 3"),
        ("[run]\nseed = 'a'", f"run.seed: 'a'; a whole number: of all random numbers; edit {file}"),
    ):
        file.write_text(text)
        with pytest.raises(BadInput) as caught:
            settings.load(file)
        assert said in str(caught.value)
    with pytest.raises(BadInput, match="cannot be read"):
        settings.load(tmp_path / "none.toml")
    file.write_text(settings.described())
    assert settings.load(file) == settings.Config()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no alpha"),
        (HEADER, "0 layers"),
        (HEADER + "1 2\n", ":7: '1 2'; 4 numbers: depth b_e a_dust delta_tau"),
        (HEADER + "1 nan 0 0\n", ":7: '1 nan 0 0'; 4 numbers"),
        (HEADER + "1 -1 0 0\n", ":7: 1 -1 0 0; depth, b_e and a_dust not below 0"),
        (HEADER + "g = 0.5\n", ":7: g: a second time"),
        (HEADER + "beta = 0.5\n", ":7: beta: unknown; alpha, kappa, A, B, g, f_SL"),
        (HEADER.replace("0.9", "1"), ":5: g = 1; 0 to 0.999"),
        (HEADER.replace("0.9", "much"), ":5: 'much'; 1 number: g"),
        (HEADER + "10 .1 .1 0\n20 .1 .1 0\n25 .1 .1 0\n", "m apart; layers of one thickness"),
        (HEADER + "10 .1 .1 0\n10 .1 .1 0\n", "layers at 10 and 10 m"),
        (HEADER.replace("7000", "0") + "10 0 0 0\n", "scattering and absorption of 0 together at 300 nm"),
    ],
    ids=range(12),
)
def test_a_table_of_ice(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "ice.txt"
    file.write_text(text)
    with pytest.raises(BadInput) as caught:
        ice.read(str(file), 1950.0)
    assert said in str(caught.value) and str(file) in str(caught.value)


@given(
    st.one_of(
        st.binary(max_size=300), st.text(alphabet="0123456789.-e =#\nalphkgABiu_sr", max_size=200).map(str.encode)
    )
)
def test_any_bytes_are_a_table_or_bad_input(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzzed.txt"
    for prefix in (b"", HEADER.encode()):
        file.write_bytes(prefix + content)
        try:
            made = ice.read(str(file), 1950.0)
        except BadInput:
            continue
        assert np.isfinite(made.layers).all() and made.thickness > 0


def test_files_that_are_not_there(worlds: Callable[..., world.World]) -> None:
    for key in ("ice.table", "detector.layout", "detector.acceptance"):
        with pytest.raises(BadInput, match=f"none.txt: cannot be read .*the file of {key}; change {key}"):
            worlds(f"{key}=none.txt")


def test_detectors_and_acceptances(tmp_path: Path, worlds: Callable[..., world.World]) -> None:
    file = tmp_path / "file.txt"
    for key, text, said in (
        ("layout", "# nothing", "no line; lines `x y z`"),
        ("layout", "1 2", ":1: '1 2'; 3 numbers: x y z"),
        ("layout", "1 2 1e9", "the farthest at 1e+09 m"),
        ("acceptance", "400 2", "shares out of 0 to 1"),
        ("acceptance", "400 0.1\n300 0.2", "wavelengths that do not rise"),
    ):
        file.write_text(text)
        with pytest.raises(BadInput) as caught:
            worlds(f"detector.{key}={file}")
        assert said in str(caught.value)


def test_a_device(device: Any) -> None:
    with pytest.raises(BadInput, match=r"--device abacus: no such device; part of a name among: .*Portable"):
        opencl.choose("abacus")


def test_the_cpu_never_computes_in_a_gpus_place(device: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ads = {"_CONDOR_JOB_AD": "RequestGPUs = 1\n", "_CONDOR_MACHINE_AD": 'GPUs_DeviceName = "NVIDIA A100"\n'}
    for name, text in ads.items():
        (tmp_path / name).write_text(text)
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1234")
    words = ["run", "--out", str(tmp_path / "out"), "--set", f"checkpoint.folder={tmp_path / 'checkpoint'}"]
    assert cli.main([*words, "--set", "run.next=10"]) == 75
    assert not (tmp_path / "out").exists()
    # the local pool's slots say that their GPU is simulated
    (tmp_path / "_CONDOR_MACHINE_AD").write_text(ads["_CONDOR_MACHINE_AD"] + "OsgdlSimulatedGPU = True\n")
    assert "simulated GPU: NVIDIA A100" in opencl.choose()[1]


def error(what: str, call: str = "clEnqueueNDRangeKernel") -> Exception:
    """One of pyopencl's own, as its library makes it."""
    import pyopencl

    kinds = {"MEM_OBJECT_ALLOCATION_FAILURE": pyopencl.MemoryError, "INVALID_COMMAND_QUEUE": pyopencl.LogicError}
    made: Exception = kinds.get(what, pyopencl.RuntimeError)(f"{call} failed: {what}")
    return made


def test_no_opencl_is_the_machines_fault(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise error("PLATFORM_NOT_FOUND_KHR", "clGetPlatformIDs")

    monkeypatch.setattr("pyopencl.get_platforms", none)
    with pytest.raises(BadMachine, match=r"OpenCL: none \(RuntimeError: clGetPlatformIDs failed"):
        opencl.choose()


def run_words(folder: Path) -> list[str]:
    settings = [f"checkpoint.folder={folder / 'checkpoint'}", "run.next=200", "run.batch=100", "source.kind=point"]
    return ["run", "--out", str(folder / "out"), "--device", "cpu", *(w for s in settings for w in ("--set", s))]


def test_no_pyopencl_is_the_images_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pyopencl", None)
    assert cli.main(run_words(tmp_path)) == 65
    said = capsys.readouterr().err
    assert said.startswith("pyopencl: ModuleNotFoundError: ") and said.count("\n") == 1
    assert "; the Python module pyopencl, which calls OpenCL; pip install pyopencl" in said


@pytest.mark.parametrize(
    "what",
    [
        "OUT_OF_RESOURCES",
        "DEVICE_NOT_AVAILABLE",
        "INVALID_COMMAND_QUEUE",
        "OUT_OF_HOST_MEMORY",
        "MEM_OBJECT_ALLOCATION_FAILURE",
        "<unknown error -9999>",
    ],
)
@pytest.mark.parametrize("call", ["_launch", "_read", "_grow"])
def test_a_gpu_that_is_lost(
    what: str,
    call: str,
    device: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """At the kernel or the copy of a second batch, or at the first buffer."""
    import pyopencl

    begun = 0

    def lost(*_: Any, **__: Any) -> Any:
        raise error(what)

    def launch(self: opencl.Propagator, first: int, photons: int) -> Any:
        nonlocal begun
        begun += 1
        if begun == 2:
            monkeypatch.setattr(pyopencl, "enqueue_copy", lost)
            if call == "_launch":
                self._kernel = lost
        return real(self, first, photons)

    real = opencl.Propagator._launch
    if call == "_grow":
        monkeypatch.setattr(pyopencl, "Buffer", lost)
    monkeypatch.setattr(opencl.Propagator, "_launch", launch)
    assert cli.main(run_words(tmp_path)) == 75
    said = capsys.readouterr().err
    assert f"OpenCL device: {device.name.strip()}: clEnqueueNDRangeKernel failed: {what}; a call that succeeds" in said
    assert "Traceback" not in said and not (tmp_path / "out" / "hits.npz").exists()


def test_a_device_without_double_precision(device: Any, worlds: Callable[..., world.World]) -> None:
    single = SimpleNamespace(double_fp_config=0, name="small GPU")
    with pytest.raises(BadMachine, match="small GPU: single only"):
        opencl.Propagator(worlds("run.precision=double"), single)


def test_a_wrong_call_is_a_bug(
    device: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(opencl, "GROUP", 2**20)  # work items in a group: more than a device has
    assert cli.main(run_words(tmp_path)) == 1
    assert "INVALID_WORK_GROUP_SIZE" in capsys.readouterr().err


def test_a_kernel_that_does_not_compile(
    device: Any, worlds: Callable[..., world.World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "kernel.cl"
    broken.write_text("kernel void propagate(")
    monkeypatch.setattr(opencl, "KERNEL", broken)
    with pytest.raises(BadMachine, match=r"OpenCL compiler: .*cannot build kernel\.cl"):
        opencl.Propagator(worlds(), device)
    assert cli.main(run_words(tmp_path)) == 75


def test_more_hits_than_a_job_or_a_device_can_hold(
    device: Any, worlds: Callable[..., world.World], tmp_path: Path
) -> None:
    from photon_propagation.run import run

    words = ["source.kind=point", "detector.layout=one", "detector.distance_m=1", "run.next=2000", "run.most_hits=3"]
    with pytest.raises(BadInput, match=r"run\.most_hits: \d+ hits after photon 0; at most 3"):
        run(settings.load(None, [*words, f"checkpoint.folder={tmp_path}"]), tmp_path / "out", "cpu")
    with pytest.raises(BadInput, match=r"run\.batch: \d+ hits in one batch"):
        opencl.Propagator(worlds(), device, capacity=2**40)


def test_results_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["merge", str(tmp_path), "--out", "merged.npz"]) == 65
    assert "hits.npz: cannot be read" in capsys.readouterr().err
    (tmp_path / "hits.npz").write_bytes(b"PK\x03\x04 nothing")
    assert cli.main(["plot", str(tmp_path), "--out", str(tmp_path)]) == 65
    assert "hits.npz: no hits (" in capsys.readouterr().err
    hits.save(tmp_path / "hits.npz", np.zeros(0, hits.HITS))
    assert cli.main(["plot", str(tmp_path), "--out", str(tmp_path)]) == 65
    assert "hits.json: does not belong to hits.npz (FileNotFoundError" in capsys.readouterr().err
    (tmp_path / "hits.json").write_text('{"hits": 4}')
    assert cli.main(["plot", str(tmp_path), "--out", str(tmp_path)]) == 65
    assert "it counts 4 hits, hits.npz has 0" in capsys.readouterr().err
    (tmp_path / "hits.json").write_text(
        '{"hits": 0, "ranges": [], "counts": {}, "world_sha256": "", "settings": {}, "detectors": []}'
    )
    assert cli.main(["plot", str(tmp_path), "--out", str(tmp_path)]) == 65
    assert "hits: none; at least one" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["merge"], ["run"], ["fly"]], ids=["nothing", "merge", "run", "fly"])
def test_a_wrong_command_line_is_65(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 65
    assert "command line: " in capsys.readouterr().err


def test_names_and_numbers_of_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["merge", "a", "--out", "b"]) == 65
    assert "--out: b; a name that ends in .npz; --out b.npz" in capsys.readouterr().err
    assert cli.main(["paths", "--out", "b", "--photons", "0"]) == 65
    assert "--photons: 0; 1 to 10000" in capsys.readouterr().err


def test_the_grid_finds_what_a_search_of_all_finds() -> None:
    random = np.random.default_rng(1)
    places = random.uniform(-200, 300, (500, 3))
    made = detector.grid(places, 30.0)
    points = random.uniform(-250, 350, (3000, 3))
    cells = np.floor((points - made.corner) / made.cell).astype(int)
    for point, cell in zip(points, cells, strict=True):
        near = set(np.flatnonzero(np.linalg.norm(places - point, axis=1) < 30))
        if near:
            number = (cell[2] * made.shape[1] + cell[1]) * made.shape[0] + cell[0]
            assert near <= set(made.members[made.begins[number] : made.begins[number + 1]].tolist())

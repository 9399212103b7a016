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

from photon_propagation import cli, detector, hits, ice, opencl, reference, settings, world
from submit.runtime.exit_codes import BadInput, BadMachine

HEADER = "alpha = 1\nkappa = 1\nA = 7000\nB = 6600\ng = 0.9\nliu_share = 0.4\n"


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
        (HEADER + "1 2\n", ":7: '1 2'; 4 numbers: depth scattering dust warmer"),
        (HEADER + "1 nan 0 0\n", ":7: '1 nan 0 0'; 4 numbers"),
        (HEADER + "1 -1 0 0\n", ":7: 1 -1 0 0; depth, scattering and dust not below 0"),
        (HEADER + "g = 0.5\n", ":7: g: a second time"),
        (HEADER + "beta = 0.5\n", ":7: beta: unknown; alpha, kappa, A, B, g, liu_share"),
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


def test_an_image_without_pyopencl(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "pyopencl", None)
    assert cli.main(["run", "--out", "nowhere"]) == 65
    assert "pyopencl: not installed here; Python's way to OpenCL; pip install pyopencl" in capsys.readouterr().err


def test_no_opencl_is_the_machines_fault(device: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyopencl

    def none() -> None:
        raise pyopencl.LogicError("clGetPlatformIDs failed: PLATFORM_NOT_FOUND_KHR")

    monkeypatch.setattr(pyopencl, "get_platforms", none)
    with pytest.raises(BadMachine, match=r"OpenCL: none \(LogicError: clGetPlatformIDs"):
        opencl.choose()


@pytest.mark.parametrize(
    ("kind", "code", "exit_code"),
    [("RuntimeError", -5, 75), ("MemoryError", -4, 75), ("LogicError", -36, 75), ("LogicError", -54, 1)],
    ids=["out-of-resources", "out-of-memory", "lost-queue", "a-wrong-call"],
)
def test_a_device_that_is_lost_on_the_way(
    device: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kind: str,
    code: int,
    exit_code: int,
) -> None:
    import pyopencl

    launch = opencl.Propagator._launch

    def lost(self: opencl.Propagator, first: int, photons: int) -> Any:
        if first:
            raise getattr(pyopencl, kind)(pyopencl._cl._ErrorRecord("clEnqueueNDRangeKernel", code, ""))
        return launch(self, first, photons)

    monkeypatch.setattr(opencl.Propagator, "_launch", lost)
    words = ["run", "--out", str(tmp_path / "out"), "--device", "cpu", "--set", "run.next=2000"]
    words += ["--set", "run.batch=1000", "--set", f"checkpoint.folder={tmp_path / 'checkpoint'}"]
    assert cli.main(words) == exit_code
    said = capsys.readouterr().err
    assert "clEnqueueNDRangeKernel failed" in said
    assert ("OpenCL device: cpu " in said and "a device that computes" in said) == (exit_code == 75)


@pytest.mark.parametrize("precision", ["single", "double"])
def test_a_turn_of_nothing_and_of_all(device: Any, precision: str) -> None:
    """At the ends of its range a cosine is rounded beyond them; a square root of that would be no number."""
    import pyopencl

    context = pyopencl.Context([device])
    kernel = "\n__kernel void turned(__global const real *lost, __global real *z) "
    kernel += "{ int i = get_global_id(0); z[i] = turn((real3)(0, 0, 1), lost[i], (real)0.3).z; }\n"
    switches = ["DOUBLE"] if precision == "double" else []
    code = opencl.header(world.build(settings.load()).numbers(), *switches) + opencl.KERNEL.read_text() + kernel
    queue, program = pyopencl.CommandQueue(context), pyopencl.Program(context, code).build()
    lost = np.array([-1e-6, 0, 2, 2 + 1e-6], np.float64 if switches else np.float32)
    given = pyopencl.Buffer(context, pyopencl.mem_flags.COPY_HOST_PTR, hostbuf=lost)
    made = pyopencl.Buffer(context, pyopencl.mem_flags.WRITE_ONLY, lost.nbytes)
    program.turned(queue, lost.shape, None, given, made)
    z = np.empty_like(lost)
    pyopencl.enqueue_copy(queue, z, made)
    np.testing.assert_allclose(z, [1, 1, -1, -1], atol=1e-5)
    np.testing.assert_allclose(
        reference.turn(np.tile([0.0, 0, 1], (4, 1)), lost.astype(float), np.full(4, 0.3))[:, 2], z, atol=1e-5
    )


def test_a_device_without_double_precision(device: Any, worlds: Callable[..., world.World]) -> None:
    single = SimpleNamespace(double_fp_config=0, name="small GPU")
    with pytest.raises(BadMachine, match="small GPU: single only"):
        opencl.Propagator(worlds("run.precision=double"), single)


def test_a_kernel_that_does_not_compile(
    device: Any, worlds: Callable[..., world.World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "kernel.cl"
    broken.write_text("kernel void propagate(")
    monkeypatch.setattr(opencl, "KERNEL", broken)
    with pytest.raises(BadMachine, match=r"OpenCL compiler: .*cannot build kernel\.cl"):
        opencl.Propagator(worlds(), device)


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

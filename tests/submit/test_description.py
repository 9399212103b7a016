from __future__ import annotations

import re
import stat
from pathlib import Path

import htcondor2
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from submit.description import Command, Description, key
from submit.errors import KitError

FILE = """\
# what
executable = run.sh
Request_GPUs   = 1
requirements = A \\
    # not B \\
    && C
+ProjectName = "x"
text @=end
one
two
@end
if ! defined data
    data = d
endif
queue 2
later = 1
"""


def test_commands_with_their_lines() -> None:
    assert Description(FILE).commands() == [
        Command("executable", "run.sh", 2, 2, False),
        Command("Request_GPUs", "1", 3, 3, False),
        Command("requirements", "A && C", 4, 6, False),
        Command("+ProjectName", '"x"', 7, 7, False),
        Command("text", "one\ntwo", 8, 11, False),
        Command("data", "d", 13, 13, True, "data"),
    ]


def test_get_knows_both_spellings_and_no_case() -> None:
    description = Description(FILE)
    assert description.get("request_gpus") == "1"
    assert description.get("MY.ProjectName") == '"x"'
    assert description.get("later") is None


def test_set_changes_a_line_and_nothing_else() -> None:
    description = Description("# a\n  Request_GPUs   =   1\n# b\nqueue\n")
    description.set("request_gpus", "2")
    assert description.text == "# a\n  Request_GPUs   = 2\n# b\nqueue\n"


def test_set_takes_the_continued_lines_with_it() -> None:
    description = Description("a = 1 \\\n 2\r\nb = 3\nqueue\n")
    description.set("a", "4")
    assert description.text == "a = 4\r\nb = 3\nqueue\n"


def test_a_new_command_goes_above_queue() -> None:
    description = Description("a = 1\r\nqueue\r\n")
    description.set("b", "2")
    assert description.text == "a = 1\r\nb = 2\r\nqueue\r\n"
    empty = Description("")
    empty.set("b", "2")
    assert empty.text == "b = 2\n"


def test_set_can_replace_another_command() -> None:
    description = Description('# image\n+SingularityImage = "a"\n# end\nqueue\n')
    description.set("container_image", "b.sif", replaces="+SingularityImage")
    assert description.text == "# image\ncontainer_image   = b.sif\n# end\nqueue\n"
    description.set("MY.SingularityImage", '"a"', replaces="container_image")
    assert description.text == '# image\nMY.SingularityImage = "a"\n# end\nqueue\n'


def test_remove_takes_every_assignment() -> None:
    description = Description("a = 1\n# c\nb = 2\nA = 3 \\\n 4\nqueue\n")
    description.remove("a")
    assert description.text == "# c\nb = 2\nqueue\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("if true\n a = 1\nendif\nqueue\n", "submit file:2: a stands in an if; want it set once, outside. Change that"),
        ("a = 1\nqueue\nA = 2\nqueue\n", "submit file:3: A is set again after queue; want it set once. Change that"),
        ("b = \\\\\n", "submit file: its end goes on in a next line; want a whole last line. Add `queue` there."),
        ("a @=x\n1\n@x\nqueue\n", "submit file:1: a takes several lines; want one line. Write `a = 9` there by hand."),
    ],
)
def test_what_a_line_does_not_decide_is_left_to_a_person(text: str, message: str) -> None:
    description = Description(text)
    with pytest.raises(KitError) as refused:
        description.set("a", "9")
    assert str(refused.value).startswith(message)
    assert description.text == text


DEFAULT = "x = 1\n# data\nif ! defined data\n    # this one\n    data = d\nendif\nqueue 1\n"


def test_a_default_for_the_command_line_is_read_changed_and_added_to() -> None:
    description = Description(DEFAULT)
    assert description.get("data") == "d"
    description.set("data", "e")
    description.set("objects", "f, g", beside="data")
    description.set("other", "1", beside="x")
    added = "    # this one\n    data = e\n    objects = f, g\nendif"
    assert description.text == f"x = 1\nother = 1\n# data\nif ! defined data\n{added}\nqueue 1\n"
    description.set("objects", "h", beside="data")
    assert "    objects = h\n" in description.text
    description.remove("objects")
    description.remove("other")
    assert description.text == DEFAULT.replace("= d\n", "= e\n")


def test_beside_what_is_not_there_is_above_queue() -> None:
    description = Description("a = 1\nqueue\n")
    description.set("b", "2", beside="c")
    assert description.text == "a = 1\nb = 2\nqueue\n"


@pytest.mark.parametrize(
    "text",
    [
        "if ! defined data\n data = 1\nelse\n data = 2\nendif\nqueue\n",
        "if ! defined data\n if true\n  x = 1\n endif\n data = 2\nendif\nqueue\n",
        "if true\n if ! defined data\n  data = 1\n endif\nendif\nqueue\n",
        "if ! defined data\n data = 1\nqueue\n",
        "if ! defined data\n data = 1\n",
        "data = 1\nif ! defined data\n data = 2\nendif\nqueue\n",
        "if ! defined data\n data = 2\nendif\ndata = 1\nqueue\n",
        "if defined data\n data = 2\nendif\nqueue\n",
        "if ! defined true\n data = 2\nendif\nqueue\n",
    ],
)
def test_other_conditions_are_for_a_person(text: str) -> None:
    description = Description(text)
    with pytest.raises(KitError, match="data stands in an if; want it set once, outside"):
        description.set("data", "9")
    assert description.text == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1\nqueue\n", "a = 1, 2\nqueue\n"),
        ("a = 1, \\\n # c \\\n  3 \r\nqueue\n", "a = 1, \\\n # c \\\n  3, 2\r\nqueue\n"),
        ("a = 1 \\\n # c\nqueue\n", "a = 1, 2\nqueue\n"),
        ("a = 1", "a = 1, 2"),
    ],
)
def test_append_keeps_the_lines(text: str, expected: str) -> None:
    description = Description(text)
    description.append("A", ", 2")
    assert description.text == expected


def test_append_to_what_is_not_there_is_a_bug_and_to_a_block_of_lines_is_for_a_person() -> None:
    with pytest.raises(ValueError, match="a is not set"):
        Description("queue\n").append("a", "1")
    with pytest.raises(KitError, match="a takes several lines; want one line"):
        Description("a @=x\n1\n@x\nqueue\n").append("a", "1")


def test_the_queue_statement() -> None:
    description = Description("a = 1\n# all\nQueue   3 \\\n in x\r\n")
    assert description.queue() == "Queue   3 in x"
    assert Description("a = 1\n").queue() == Description("").queue() == ""
    description = Description("a = 1\n# all\nqueue 1\r\n# end\n")
    description.set_queue("queue x from y")
    assert description.text == "a = 1\n# all\nqueue x from y\r\n# end\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = 1\n", "submit file: queue is there 0 times; want it once. Change that line by hand."),
        ("queue\na = 2\nqueue 2\n", "submit file:3: queue is there 2 times; want it once. Change that line by hand."),
    ],
)
def test_a_file_with_no_queue_or_many(text: str, message: str) -> None:
    description = Description(text)
    with pytest.raises(KitError) as refused:
        description.set_queue("queue 1")
    assert (str(refused.value), description.text) == (message, text)


@pytest.mark.parametrize("value", ["a\nb", "a\\", " a", "a ", "a\r"])
def test_a_value_that_does_not_fit_on_a_line_is_a_bug(value: str) -> None:
    with pytest.raises(ValueError, match="cannot be the value of a submit command"):
        Description("").set("a", value)


def test_read_and_write(tmp_path: Path) -> None:
    file = tmp_path / "real.sub"
    file.write_bytes(b"# \xff\r\na = 1\r\nqueue")
    file.chmod(0o640)
    link = tmp_path / "link.sub"
    link.symlink_to("real.sub")
    description = Description.read(link)
    description.set("a", "2")
    description.write()
    assert file.read_bytes() == b"# \xff\r\na = 2\r\nqueue"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert link.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.sub", "real.sub"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KitError, match=r"none.sub: No such file or directory; want a submit file\. Name one that is"):
        Description.read(tmp_path / "none.sub")


NAMES = ["a", "b", "A", "+X", "MY.x", "c.d", "1"]
EQUALS = [" = ", "=", "\t=", " \\\n = "]
VALUES = [
    "1",
    "",
    "#c",
    '"q r"',
    "é",
    "x \\\n y",
    "1 \\ \n#c\\\n 2",
    "\\\\\n",
    "= =",
    "x\x0cy",
    "a\u2028b",
    "\\\n\\\n3",
]
OTHER = [
    "# c\n",
    " # c \\\n",
    "\n",
    "queue\n",
    "Queue x in a,b\n",
    "if true\n b = 7\nendif\n",
    "t @=e\n u \n@e\n",
    "queue_x = 1\n",
    "if ! defined new\n  new = 5\n  a = 6\nendif\n",
    "IF !DEFINED\tc.d \r\n# c\n\tc.d = 8 \\\n 9\n\tt @=e\n u\n@e\nendif\n",
    "if ! defined a\n a = 3\nelse\n a = 4\nendif\n",
    "if ! defined z\n if true\n  b = 2\n endif\n b = 3\nendif\n",
    "if ! defined true\n b = 3\nendif\n",
]


def files() -> st.SearchStrategy[str]:
    parts = (st.sampled_from(choices) for choices in (NAMES, EQUALS, VALUES, ["\n", "\r\n", " \n"]))
    line = st.one_of(st.tuples(*parts).map("".join), st.sampled_from(OTHER))
    return st.lists(line, max_size=8).map("".join)


@given(st.text())
def test_round_trip_of_any_text(text: str) -> None:
    assert Description(text).text == text
    Description(text).commands()


@settings(max_examples=500)
@given(files())
def test_htcondor_reads_the_same(text: str) -> None:
    assert Description(text).text == text
    try:
        theirs = {key(name): value.strip() for name, value in dict(htcondor2.Submit(text)).items()}
    except ValueError:
        assume(False)
    commands = Description(text).commands()
    ours = {key(c.name): c.value for c in commands}
    # under a condition that we do not understand
    unsure = {key(c.name) for c in commands if c.conditional and not c.unless and "defined" in text.lower()}
    # HTCondor takes pieces of a comment that ends a continued command into its value, sometimes
    assume(not re.search(r"\\\s*\n\s*#", text))
    # after a `+` HTCondor takes any characters for a name
    assume(all(re.fullmatch(r"[a-z0-9_.]+", name) for name in theirs))
    found = {name: ours.get(name, "").strip() for name in theirs}
    assert {n: v for n, v in found.items() if n not in unsure} == {n: v for n, v in theirs.items() if n not in unsure}


@settings(max_examples=300)
@given(files(), st.sampled_from(["a", "+X", "new", "c.d"]), st.sampled_from(["1", '"q r"', "x = y", "#"]))
def test_what_is_set_is_what_htcondor_reads(text: str, name: str, value: str) -> None:
    try:
        before = dict(htcondor2.Submit(text))
    except ValueError:
        assume(False)
    description = Description(text)
    try:
        description.set(name, value)
    except KitError:
        assert description.text == text
        return
    assume(not re.search(r"\\\s*\n\s*#", text))
    assert description.get(name) == value
    after = {key(n): v.strip() for n, v in dict(htcondor2.Submit(description.text)).items()}
    assert after.pop(key(name)) == value
    assert after == {key(n): v.strip() for n, v in before.items() if key(n) != key(name)}

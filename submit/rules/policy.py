"""What the OSPool expects of a job, and what makes it wait longer than it must."""

from __future__ import annotations

import re
from collections.abc import Iterator

from submit.findings import Hit, looks_for
from submit.rules.gpu import expressions, number
from submit.submission import PLACEHOLDERS, Submission
from submit.units import mebibytes

CATEGORIES = {"medium": 20 * 3600, "long": 40 * 3600}  # seconds after which a job is held
CPUS_PER_GPU, MEMORY_PER_GPU = 8, 32 * 1024  # what a GPU pilot keeps free of CPU jobs for each GPU (submit.gpus)
MOST_QUEUED = 10_000
MANY_MAILS = 10
# what only machines of CHTC at Madison read
CHTC_ONLY = ("+WantGPULab", "+GPUJobLength", "+is_resumable", "+WantFlocking", "+WantGlidein")
_OF_CHTC = re.compile(r"\bHas_?CHTCStaging\b|\bIsCHTC\w*", re.IGNORECASE)
_SITE = re.compile(r"\bGLIDEIN_(?:Site|ResourceName|Entry_Name)\b", re.IGNORECASE)


@looks_for("OSG601", Submission)
def no_project(job: Submission) -> Iterator[Hit]:
    if job.commands and all(job.lacks(name) for name in ("+ProjectName", "project_name", "ProjectName")):
        yield Hit(job.queue_line, "no +ProjectName")


@looks_for("OSG602", Submission)
def unknown_category(job: Submission) -> Iterator[Hit]:
    value = job.value("+JobDurationCategory")
    if re.fullmatch(r'"[^"]*"', value) and value.strip('"').lower() not in CATEGORIES:
        yield Hit(job.line("+JobDurationCategory"), f"+JobDurationCategory = {value}: there is Medium and Long")


@looks_for("OSG603", Submission)
def long_gpu_job(job: Submission) -> Iterator[Hit]:
    if job.asks_gpu and job.string("+JobDurationCategory").lower() == "long":
        yield Hit(job.line("+JobDurationCategory"), "+JobDurationCategory = Long: few GPU machines stay for 40 hours")


@looks_for("OSG604", Submission)
def bound_to_sites(job: Submission) -> Iterator[Hit]:
    if job.asks_gpu and job.string("+DESIRED_Sites"):
        yield Hit(job.line("+DESIRED_Sites"), "+DESIRED_Sites: the pool fetches no GPU machine for this job")


@looks_for("OSG605", Submission)
def whole_environment(job: Submission) -> Iterator[Hit]:
    name = "getenv" if job.has("getenv") else "get_env"
    if job.flag(name):
        yield Hit(job.line(name), f"{name} = {job.value(name)}: the access point's variables follow the job")


@looks_for("OSG606", Submission)
def no_resources(job: Submission) -> Iterator[Hit]:
    missing = [name for name in ("request_cpus", "request_memory", "request_disk") if job.lacks(name)]
    if job.commands and missing:
        yield Hit(job.queue_line, f"the job does not say what it needs: no {', no '.join(missing)}")


@looks_for("OSG607", Submission)
def above_the_share(job: Submission) -> Iterator[Hit]:
    gpus = number(job.value("request_gpus"))
    if not gpus:
        return
    cpus = number(job.value("request_cpus"))
    if cpus is not None and cpus > CPUS_PER_GPU * gpus:
        yield Hit(job.line("request_cpus"), f"request_cpus = {cpus:g}: GPU machines keep {CPUS_PER_GPU} cores a GPU")
    try:
        memory = mebibytes(job.value("request_memory"))
    except ValueError:
        return
    if memory > MEMORY_PER_GPU * gpus:
        yield Hit(
            job.line("request_memory"),
            f"request_memory = {job.value('request_memory')}: GPU machines keep {MEMORY_PER_GPU // 1024} GB a GPU",
        )


@looks_for("OSG608", Submission)
def no_log(job: Submission) -> Iterator[Hit]:
    if job.commands and job.lacks("log") and job.lacks("userlog"):
        yield Hit(job.queue_line, "no log")


@looks_for("OSG609", Submission)
def many_jobs(job: Submission) -> Iterator[Hit]:
    limits = ("max_idle", "materialize_max_idle", "max_materialize")
    if job.jobs > MOST_QUEUED and all(job.lacks(name) for name in limits):
        yield Hit(job.queue_line, f"queue: {job.jobs} jobs at once")


@looks_for("OSG610", Submission)
def many_mails(job: Submission) -> Iterator[Hit]:
    if job.value("notification").lower() in ("always", "complete") and job.jobs > MANY_MAILS:
        yield Hit(job.line("notification"), f"notification = {job.value('notification')}: {job.jobs} mails")


@looks_for("OSG611", Submission)
def failure_unseen(job: Submission) -> Iterator[Hit]:
    names = ("max_retries", "retry_until", "on_exit_hold", "on_exit_remove")
    if job.asks_gpu and all(job.lacks(name) for name in names):
        yield Hit(job.queue_line, "no max_retries and no on_exit_hold: a failed run counts as completed")


@looks_for("OSG612", Submission)
def ranked_sites(job: Submission) -> Iterator[Hit]:
    for command, value in expressions(job, "rank", "preferences"):
        if _SITE.search(value):
            yield Hit(command.first, f"{command.name}: ranks sites, most of which are not in the pool yet")


@looks_for("OSG613", Submission)
def site_list(job: Submission) -> Iterator[Hit]:
    for name in ("+UNDESIRED_Sites", "+DESIRED_Sites"):
        value = job.value(name)
        if value.startswith("{") or re.search(r";|[\w)]\s+[\w(]", value.strip('" ')):
            yield Hit(job.line(name), f"{name} = {value}: no site has this name")


@looks_for("OSG614", Submission)
def longer_than_allowed(job: Submission) -> Iterator[Hit]:
    category = job.string("+JobDurationCategory").lower() or "medium"
    seconds = number(job.value("allowed_execute_duration"))
    if seconds is not None and seconds > CATEGORIES.get(category, seconds):
        yield Hit(
            job.line("allowed_execute_duration"),
            f"allowed_execute_duration = {seconds:g}: a {category} job is held after {CATEGORIES[category]} s",
        )


@looks_for("OSG615", Submission)
def deprecated_os(job: Submission) -> Iterator[Hit]:
    command = job.command("requirements")
    if command and "OSGVO_OS_" in job.value("requirements"):
        written = "OSGVO_OS_" in command.value  # not in a macro
        edits = job.edit(command, command.value.replace("OSGVO_OS_", "OSG_OS_")) if written else ()
        yield Hit(command.first, "requirements: OSGVO_OS_... are deprecated names", edits=edits)


@looks_for("OSG616", Submission)
def on_the_access_point(job: Submission) -> Iterator[Hit]:
    if job.asks_gpu and job.value("universe").lower() in ("local", "scheduler"):
        yield Hit(
            job.line("universe"), f"universe = {job.value('universe')} runs on the access point, which has no GPU"
        )


@looks_for("OSG617", Submission)
def docker_universe(job: Submission) -> Iterator[Hit]:
    if job.value("universe").lower() == "docker" or job.has("docker_image"):
        yield Hit(job.line("docker_image", "universe"), "machines of the OSPool have Apptainer, not Docker")


@looks_for("OSG618", Submission)
def registry_image(job: Submission) -> Iterator[Hit]:
    command = job.command("container_image", "+SingularityImage")
    if command and job.image and job.image.kind == "docker":
        yield Hit(command.first, f"{command.name}: every machine pulls and converts {job.image_reference} anew")


@looks_for("OSG619", Submission)
def several_gpus(job: Submission) -> Iterator[Hit]:
    gpus = number(job.value("request_gpus"))
    if gpus is not None and gpus > 1:
        yield Hit(job.line("request_gpus"), f"request_gpus = {gpus:g}: most machines of the OSPool offer one at a time")


@looks_for("OSG620", Submission)
def elsewhere(job: Submission) -> Iterator[Hit]:
    for name in CHTC_ONLY:
        if job.has(name):
            yield Hit(job.line(name), f"{name} is CHTC's: the OSPool does not read it")
    found = _OF_CHTC.search(job.value("requirements"))
    if found:
        yield Hit(job.line("requirements"), f"requirements: only machines of CHTC have {found.group()}")


@looks_for("OSG621", Submission)
def no_category(job: Submission) -> Iterator[Hit]:
    if job.commands and job.lacks("+JobDurationCategory"):
        edits = job.addition("+JobDurationCategory", '"Medium"')
        yield Hit(job.queue_line, "no +JobDurationCategory", edits=edits)


@looks_for("OSG622", Submission)
def placeholder_project(job: Submission) -> Iterator[Hit]:
    if job.string("+ProjectName") in PLACEHOLDERS:
        yield Hit(job.line("+ProjectName"), f"+ProjectName = {job.value('+ProjectName')} stands for yours")

"""What travels with a job: exit codes, chirp, checkpoints, inputs, progress, devices, and the preflight.

Standard library only and Python 3.9, so that it runs in any image. Imports point strictly down:

    chirp  classad  files  failures  cuda  nvml    0   one fact about HTCondor, the file system or a GPU's driver each
    opencl
    dataset  tar                                       a format each
    daly                                               how often to make work safe: formulas
    checkpoint  gpu_ad  known_answer  request      1
    known_photons  gpu_use
    manifest  zstd  leaving                            leaving: when a job saves, and when it leaves with 85
    exit_codes                                     2   what the job tells HTCondor
    devices  progress  findings  network  unpack   3   where am I, how far, what an archive may do, what goes home
    outputs  configuration  command_line              a program's settings and commands
    host  visible  simulated                       4   checks of the machine
    shard                                              a staged object against its manifest
    work                                               the frame of a training loop of one's own
    probe  gpu  opencl_probe  opencl_check         5   the process that touches the driver, and what its words mean
    unpacked                                           all objects of a manifest as one folder
    preflight  inputs                              6   may the work begin, and with what data
"""

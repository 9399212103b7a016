"""What travels with a job: exit codes, chirp, checkpoints, inputs, progress, devices, and the preflight.

Standard library only and Python 3.9, so that it runs in any image. Imports point strictly down:

    chirp  classad  files  failures  cuda  nvml    0   one fact about HTCondor, the file system or a GPU's driver each
    checkpoint  gpu_ad  known_answer  request      1
    exit_codes                                     2   what the job tells HTCondor
    devices  inputs  progress  findings  network   3   where am I, with what data, how far
    host  visible  simulated                       4   checks of the machine
    probe  gpu                                     5   the process that touches the driver, and what its words mean
    preflight                                      6
"""

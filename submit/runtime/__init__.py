"""What travels with a job: exit codes, chirp, checkpoints, inputs, progress, devices.

Standard library only and Python 3.9, so that it runs in any image. Imports point strictly down:

    chirp  classad  files                          0   one fact about HTCondor or the file system each
    exit_codes  checkpoint                         1   what the job tells HTCondor; what survives it
    devices  inputs  progress                      2   where am I, with what data, how far
"""

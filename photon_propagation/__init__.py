"""Photons through ice, by OpenCL: emission, scattering, absorption, detection. Copied into a project's job/ folder.

Imports of its own point strictly down:

    philox  medium  hits  settings    0   random numbers, Cherenkov light, what comes out, what is asked for
    ice  source                       1   a part of the world each
    detector                          2
    world                             3   all of it, as numbers and arrays
    reference  opencl (kernel.cl)     4   the same photons in NumPy, and in OpenCL
    run                               5   one job's photons
    merge  pictures                   6   those of many jobs, and what people look at
    cli                               7   parse, one call, print

tables/ holds the ice and the acceptance that come with it.
"""

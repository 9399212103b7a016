"""The access-point side of osg-dl-kit: checks, stages, runs and watches deep-learning jobs on the OSPool.

This file stays empty of imports: `submit.runtime` travels with the job and must load in any image with Python 3.9.
"""

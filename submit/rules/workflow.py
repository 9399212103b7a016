"""Workflows: DAGMan files and the submit files of their nodes."""

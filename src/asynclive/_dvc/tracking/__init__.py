"""Part of _dvc"""

"""Tests of the search for lost runs and of adoption."""

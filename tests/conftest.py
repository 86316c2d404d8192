"""For all tests: the longest file first, so that two workers end at about the same time."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: item.path.name != "test_pipeline.py")

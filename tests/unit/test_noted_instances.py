from hallmark.client.instances import find_instance, note_instance

URL = "http://127.0.0.1:8080"


def test_a_noted_instance_is_found(tmp_path):
    directory = tmp_path / "instance"
    directory.mkdir()
    note_instance(URL, directory, folder=tmp_path / "state" / "hallmark")
    assert find_instance(URL, folder=tmp_path / "state" / "hallmark") == directory
    assert find_instance(URL + "/", folder=tmp_path / "state" / "hallmark") == directory


def test_other_instances_stay_noted(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        note_instance(f"http://{name}", tmp_path / name, folder=tmp_path)
    assert find_instance("http://a", folder=tmp_path) == tmp_path / "a"
    assert find_instance("http://b", folder=tmp_path) == tmp_path / "b"


def test_an_instance_whose_directory_is_gone_is_not_found(tmp_path):
    note_instance(URL, tmp_path / "gone", folder=tmp_path)
    assert find_instance(URL, folder=tmp_path) is None


def test_nothing_is_found_without_a_note_or_in_a_damaged_one(tmp_path):
    assert find_instance(URL, folder=tmp_path) is None
    (tmp_path / "instances.json").write_bytes(b'{"http')
    assert find_instance(URL, folder=tmp_path) is None
    note_instance(URL, tmp_path, folder=tmp_path)
    assert find_instance(URL, folder=tmp_path) == tmp_path


def test_the_folder_is_the_users_state_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    note_instance(URL, tmp_path)
    assert (tmp_path / "state" / "hallmark" / "instances.json").is_file()
    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    note_instance(URL, tmp_path)
    assert (tmp_path / "home" / ".local" / "state" / "hallmark" / "instances.json").is_file()

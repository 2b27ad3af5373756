"""The cats of visitors: kept apart, forgotten, found in their photos, and projected one after the other."""

import threading

import numpy as np
import pytest
import torch

from vae.app import guests, projections
from vae.app.downloads import film_mp4
from vae.app.faces import crop, find_faces, parse_landmarks, put_cat_back, remarks
from vae.app.guests import Guest, Guests
from vae.app.photo_html import photo_with_points
from vae.app.projections import Projections
from vae.cli.errors import InputError
from vae.data.synthetic.drawn import draw_cat
from vae.models.projected import Projected
from vae.models.serialization import load
from vae.runs.lookup import find_run

MODEL, X = torch.nn.Identity(), torch.zeros(1, 3, 8, 8)


@pytest.fixture(scope="module")
def data(composed):
    return composed("train", "data.align=detect", "data.image_size=16").data


def test_guests_are_kept_apart_and_forgotten(monkeypatch):
    visitors = Guests()
    first, second = visitors.enter(None, Guest("a")), visitors.enter(None, Guest("b"))
    assert first != second and visitors.get(first).model == "a" and visitors.get(second).model == "b"
    visitors.enter(first, Guest("c"))
    assert visitors.get(first).model == "c"
    for key in ("", None, "nobody"):
        with pytest.raises(InputError, match="no photo of yours"):
            visitors.get(key)
    visitors.get(second)
    monkeypatch.setattr(guests, "MAX_GUESTS", 2)
    visitors.enter(None, Guest("d"))
    with pytest.raises(InputError):
        visitors.get(first)  # It was idle for longer than the second.
    visitors.get(second).used -= guests.MAX_IDLE + 1
    with pytest.raises(InputError):
        visitors.get(second)


@pytest.fixture
def gate(monkeypatch):
    """A projection of one step that waits until the gate opens."""
    opened = threading.Event()

    def project(model, x, steps, on_step):
        on_step(0, x)
        assert opened.wait(60)
        on_step(steps, x)
        return Projected(x)

    monkeypatch.setattr(projections, "project", project)
    monkeypatch.setattr(projections, "INTERVAL", 0.01)
    yield opened
    opened.set()


def test_projections_wait_for_each_other_and_know_it(gate):
    queue = Projections(4)
    running = [queue.project(MODEL, X) for _ in range(projections.MAX_RUNNING)]
    assert [next(job).ahead for job in running] == [0] * len(running)
    waiting = [queue.project(MODEL, X) for _ in range(2)]
    assert [next(job).ahead for job in waiting] == [1, 2]
    gate.set()
    for job in [*running, *waiting]:
        *_, last = job
        assert last.result is not None and last.done == 4


def test_too_many_projections_are_refused(gate, monkeypatch):
    monkeypatch.setattr(projections, "MAX_JOBS", 1)
    queue = Projections(4)
    first = queue.project(MODEL, X)
    next(first)
    with pytest.raises(InputError, match="try again in a minute"):
        next(queue.project(MODEL, X))
    gate.set()
    *_, last = first
    assert last.result is not None
    *_, last = queue.project(MODEL, X)
    assert last.result is not None


def test_a_closed_iterator_cancels_its_projection(gate):
    queue = Projections(4)
    job = queue.project(MODEL, X)
    next(job)
    (running,) = queue._jobs
    job.close()
    gate.set()
    assert running.finished.wait(60) and running.result is None and running.error is None


def test_an_error_reaches_the_visitor(monkeypatch):
    def project(*_, **__):
        raise InputError("no such cat")

    monkeypatch.setattr(projections, "project", project)
    with pytest.raises(InputError, match="no such cat"):
        list(Projections(4).project(MODEL, X))


def test_several_faces_can_be_chosen_from(data):
    left, right = (np.asarray(draw_cat(seed)[0])[:370] for seed in (1, 5))
    photo = np.concatenate([left, right], axis=1)
    faces = find_faces(photo, data)
    assert faces.certain and len(faces.others) == 1 and "2 faces" in faces.summary
    page = photo_with_points(photo, faces)
    assert page.count('class="other-face"') == 1 and page.count('class="point"') == 3
    x, aligned = crop(photo, faces.landmarks, data)
    assert x.shape == (1, 3, 16, 16) and remarks(aligned, 16) == ""
    assert "11 pixels between the eyes" in remarks(aligned._replace(scale=9.0), 64)
    assert "30%" in remarks(aligned._replace(outside=0.3), 16)


def test_without_a_face_the_points_are_a_guess(data, composed):
    blank = np.full((60, 90, 3), 128, np.uint8)
    faces = find_faces(blank, data)
    assert not faces.certain and "Found no cat's face" in faces.summary
    assert (faces.landmarks > 0).all() and (faces.landmarks < (90, 60)).all()
    assert photo_with_points(blank, faces).count('class="point"') == 3
    centred = find_faces(blank, composed("train", "data.align=center").data)
    assert centred.certain and centred.landmarks is None


@pytest.mark.parametrize("points", [None, [], [[1, 2]], [[1, 2], [3, 4], [5]], "abc", [[[1]], 2, 3], {"a": 1}])
def test_points_from_a_browser_are_checked(points):
    with pytest.raises(InputError, match="three points"):
        parse_landmarks(points, np.zeros((20, 30, 3), np.uint8))


def test_points_stay_in_the_photo_and_apart(data):
    photo = np.zeros((20, 30, 3), np.uint8)
    landmarks = parse_landmarks([[-5, 3], [1e9, "nan"], [float("nan"), 7]], photo)
    assert landmarks.tolist() == [[0, 3], [29, 0], [0, 7]]
    with pytest.raises(InputError, match="drag them apart"):
        crop(photo, np.full((3, 2), 4.0), data)


def test_a_film_is_an_mp4_file():
    assert film_mp4(Guest(film=torch.zeros(3, 3, 16, 16)), MODEL)[4:8] == b"ftyp"
    with pytest.raises(InputError, match="no film"):
        film_mp4(Guest(), MODEL)


def test_a_moved_cat_changes_the_photo_by_what_the_sliders_changed():
    model = load(find_run("models/cats64"))
    photo = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    cat, other = (Projected(model.sample_latents(1, seed)) for seed in (1, 2))
    landmarks = np.array([(170.0, 140.0), (230.0, 140.0), (200.0, 190.0)])
    guest = Guest("cats64", photo, landmarks, projected=cat, edited=cat)
    drawn = put_cat_back(guest, model)
    assert np.array_equal(drawn[0], photo[0]) and not np.array_equal(drawn, photo)
    guest.edited = Projected(cat.z.clone())
    assert np.array_equal(put_cat_back(guest, model), photo)  # The photo keeps its details where nothing changed.
    guest.edited = other
    assert not np.array_equal(put_cat_back(guest, model), photo)
    assert put_cat_back(guest, model, max_side=100).shape == (75, 100, 3)

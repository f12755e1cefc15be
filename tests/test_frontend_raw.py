from __future__ import annotations

import pytest
import torch

from soundalike.core.errors import SoundalikeError
from soundalike.model.recipe import Recipe
from soundalike.nn.frontend import FRONTENDS, Raw


def noise(count: int, samples: int) -> torch.Tensor:
    return 0.3 * torch.randn(count, samples, generator=torch.Generator().manual_seed(0))


def test_the_waveform_comes_out_as_it_is() -> None:
    waveform = noise(2, 20000)
    frontend = Raw()
    assert torch.equal(frontend(waveform)[:, 0], waveform[:, :16000])
    assert torch.equal(frontend.whole(waveform)[:, 0], waveform)
    assert (frontend.channels, frontend.bands, frontend.frames, frontend.clip_samples) == (1, None, 16000, 16000)
    assert frontend.state_dict() == {}


@pytest.mark.parametrize("samples", [0, 1, 15999, 16000, 30000])
def test_short_clips_are_zero_padded_on_the_right(samples: int) -> None:
    whole = Raw().whole(noise(1, samples))
    assert whole.shape == (1, 1, max(samples, 16000)) == (1, 1, Raw().frame_count(samples))
    assert not whole[..., samples:].any()


def test_clips_of_any_length() -> None:
    assert Raw(seconds=None)(noise(2, 300)).shape == (2, 1, 300)
    assert Raw(seconds=0.3, sample_rate=8000).frames == 2400


def test_level_peak_scales_a_clip_to_a_peak_of_1() -> None:
    result = Raw(level="peak")(torch.cat((noise(2, 16000), torch.zeros(1, 16000))))
    torch.testing.assert_close(result.abs().amax(2), torch.tensor([[1.0], [1.0], [0.0]]))


@pytest.mark.parametrize(
    ("arguments", "word"),
    [({"sample_rate": 0}, "sample_rate"), ({"seconds": 0.0}, "seconds"), ({"level": "x"}, "level")],
)
def test_bad_arguments_are_named(arguments: dict[str, float], word: str) -> None:
    with pytest.raises(SoundalikeError, match=f"raw: .*{word}"):
        Raw(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("readout", ["pooled", "stages"])
@pytest.mark.parametrize("frontend", ["raw", "clar"])
def test_a_recipe_embeds_clips_of_any_length(frontend: str, readout: str) -> None:
    from soundalike.model.model import SoundModel

    sections = {
        "frontend": {"name": frontend},
        "encoder": {"name": "resnet18", "width": 8, "size": 16, "dimensions": 1 if frontend == "raw" else 2},
        "readout": {"name": readout},
        "training": {"steps": 1},
    }
    model = SoundModel(Recipe("test", sections))
    assert isinstance(model.frontend, FRONTENDS[frontend])
    for samples in (1, 777, 16000, 40001):
        embedding = model.embed(noise(1, samples)[0])
        assert embedding.shape == (model.size,)
        assert torch.from_numpy(embedding).isfinite().all()


def test_the_encoder_of_a_waveform_has_one_dimension() -> None:
    with pytest.raises(SoundalikeError, match=r"encoder\.dimensions is 2: the front end 'raw' needs 1"):
        Recipe("test", {"frontend": {"name": "raw"}, "training": {"steps": 1}}).build()

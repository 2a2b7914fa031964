"""python -m inpaint_hub.export: a pipeline as one ONNX file that runs anywhere.

    image [N,3,s,s] in [0,1], mask [N,1,s,s] in {0,1} (1 = hole) -> composite [N,3,s,s] in [0,1]

The whole fill is in the graph: masked picture, encoder, generator, the deformable fusion where
there is one, and the hard constraint, by which every known value comes back bit for bit. N is free.
"""

import argparse
import copy
import sys
import warnings
from pathlib import Path

import torch
from torch import nn

from inpaint_hub.compositing import composite, mask_out
from inpaint_hub.pipelines import AutoInpaintPipeline, InpaintPipeline, load_pipeline
from inpaint_hub.pipelines.repository import HubPipeline
from inpaint_hub.pipelines.search import SearchPipeline

OPSET = 18
INPUTS, OUTPUTS = ("image", "mask"), ("composite",)


class Fill(nn.Module):
    """A pipeline's fill of whole windows as one module, in fp32 and with constant noise."""

    def __init__(self, pipeline: InpaintPipeline) -> None:
        super().__init__()
        if reason := why_not(pipeline):
            raise ValueError(
                f"{type(pipeline).__name__} {reason}; expected a pipeline that fills in one pass"
            )
        self.networks = nn.ModuleList()
        self.pipeline = self.copied(pipeline)
        self.resolution = pipeline.resolution

    def copied(self, pipeline: InpaintPipeline) -> InpaintPipeline:
        """The pipeline of copies of its networks, those of its parts included."""
        parts = {}
        for name, part in pipeline.components.items():
            if isinstance(part, InpaintPipeline):
                parts[name] = self.copied(part)
            elif isinstance(part, nn.Module):
                parts[name] = copy.deepcopy(part).cpu().float().eval().requires_grad_(False)
                for module in parts[name].modules():
                    vars(module).pop("forward", None)  # the forms that optimize() installed
                self.networks.append(parts[name])
        return type(pipeline)(**parts)

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        hole = mask > 0.5
        mask = hole.to(image.dtype)
        masked_image = mask_out(image * 2 - 1, mask)
        latent = self.pipeline.encode(masked_image, mask)
        generated = self.pipeline.render(latent, masked_image, mask)["generated"]
        return composite(image, (generated / 2 + 0.5).clamp(0, 1), mask)


def why_not(pipeline: HubPipeline) -> str | None:
    """Why no graph can hold a pipeline's fill, or None."""
    if isinstance(pipeline, SearchPipeline):
        return "searches by gradients, which no graph holds"
    if isinstance(pipeline, AutoInpaintPipeline):
        return "chooses between two models, `faces` and `photos`: export each"
    return None if isinstance(pipeline, InpaintPipeline) else "fills no holes"


def export_onnx(pipeline: InpaintPipeline, file: str | Path, opset: int = OPSET) -> Fill:
    """Write `file`; returns the Fill it holds, to compare with.

    Raises: ValueError for pipelines that do not fill in one pass, and for an opset below 18;
    ModuleNotFoundError without onnx and onnxscript.
    """
    if opset < OPSET:
        raise ValueError(f"opset is {opset}, expected at least {OPSET}")
    fill = Fill(pipeline)
    s = fill.resolution
    example = (torch.rand(2, 3, s, s), (torch.rand(2, 1, s, s) > 0.5).float())
    batch = torch.export.Dim("batch", min=1, max=4096)
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            fill,
            example,
            str(file),
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            opset_version=opset,
            dynamo=True,
            dynamic_shapes={"image": {0: batch}, "mask": {0: batch}},
            external_data=False,  # one file
            verbose=False,
        )
    return fill


def check_onnx(fill: Fill, file: str | Path, count: int = 3, seed: int = 0) -> float:
    """Largest difference between the file, run by onnxruntime, and PyTorch, over `count` random
    pictures and holes in one batch.

    Raises: ModuleNotFoundError without onnxruntime.
    """
    import onnxruntime

    random = torch.Generator().manual_seed(seed)
    s = fill.resolution
    image = torch.rand(count, 3, s, s, generator=random)
    mask = torch.zeros(count, 1, s, s)
    mask[:, :, s // 4 : s // 2 + 3, s // 3 :] = 1
    with torch.no_grad():
        expected = fill(image, mask)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"image": image.numpy(), "mask": mask.numpy()})
    return (torch.from_numpy(found) - expected).abs().max().item()


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m inpaint_hub.export",
        description="Write a pipeline as one ONNX file: image, mask -> composite.",
    )
    parser.add_argument("model", help="folder or Hub id of a pipeline")
    parser.add_argument("file", type=Path, help="the .onnx to write")
    parser.add_argument("--opset", type=int, default=OPSET, help=f"default and least: {OPSET}")
    parser.add_argument("--local_files_only", action="store_true", help="never ask the Hub")
    parser.add_argument(
        "--check", action=argparse.BooleanOptionalAction, default=True, help="with onnxruntime"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Exit status 0 when written and, with --check, within 1e-4 of PyTorch; 1 when not within; 2
    for what cannot be exported."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    try:
        pipeline = load_pipeline(arguments.model, local_files_only=arguments.local_files_only)
        fill = export_onnx(pipeline, arguments.file, arguments.opset)
        difference = check_onnx(fill, arguments.file) if arguments.check else None
    except (FileNotFoundError, ValueError, RuntimeError, ModuleNotFoundError) as error:
        advice = ""
        if isinstance(error, ModuleNotFoundError):
            advice = "; pip install onnx onnxscript onnxruntime"
        parser.error(f"{error}{advice}")
    size = arguments.file.stat().st_size / 1e6
    print(f"{arguments.file}: {size:.1f} MB, {fill.resolution} px, opset {arguments.opset}")
    if difference is not None:
        print(f"largest difference to PyTorch, of 3 random pictures: {difference:.1e}")
        return 0 if difference <= 1e-4 else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The README.md of a converted folder: where its numbers are from, and whose they are."""

NVIDIA_TERMS = (
    "NVIDIA publishes its StyleGAN2 networks under the NVIDIA Source Code License, for research "
    "and evaluation only; that goes for this conversion, too."
)
TERMS = {
    "NVIDIA": NVIDIA_TERMS,
    "rosinality/stylegan2-pytorch": "rosinality's code is MIT-licensed; that says nothing of the "
    "weights. Files converted from NVIDIA's networks stay under NVIDIA's terms (research and "
    "evaluation only).",
    "pSp": "pSp's code is MIT-licensed. Its published networks contain a StyleGAN2 by NVIDIA "
    "(research and evaluation only) and were trained on FFHQ, whose pictures have terms of their "
    "own.",
    "e4e": "e4e's code is MIT-licensed. Its published networks contain a StyleGAN2 by NVIDIA "
    "(research and evaluation only) or by rosinality's program, and were trained on data sets with "
    "terms of their own.",
    "ArcFace": "ArcFace's published weights were trained on face recognition data that is for "
    "research alone.",
}


def card(conversion, name, size, sha256):
    """Markdown, with the metadata of a model card."""
    terms = next(
        (text for start, text in TERMS.items() if conversion.layout.startswith(start)),
        "The file does not state its terms.",
    )
    lines = [
        "---",
        "library_name: inpaint_hub",
        "license: other",
        "license_name: see-the-source",
        "tags: [inpainting, gan-inversion, stylegan2, converted]",
        "---",
        "",
        f"# Converted from {conversion.layout}",
        "",
        "| | |",
        "| --- | --- |",
        f"| source | `{safe(name)}`, {size} bytes |",
        f"| sha256 | `{sha256}` |",
        f"| layout | {conversion.layout} |",
    ]
    for component, network in conversion.networks.items():
        millions = sum(p.numel() for p in network.parameters()) / 1e6
        config = ", ".join(f"{k} {v}" for k, v in network.config.items())
        lines.append(
            f"| `{component}` | {type(network).__name__}, {millions:.2f} M parameters: {config} |"
        )
    if conversion.set_aside:
        aside = ", ".join(f"`{safe(str(key))}`" for key in conversion.set_aside[:12])
        more = len(conversion.set_aside) - 12
        lines.append(f"| set aside | {aside}{f' and {more} more' if more > 0 else ''} |")
    lines += ["", *(f"- {note}" for note in conversion.notes)]
    lines += [
        "",
        "## License",
        "",
        f"Converting changes no terms: these weights stay under those of their source. {terms}",
        "",
    ]
    return "\n".join(lines)


def safe(text):
    """Text of a file that cannot end a Markdown code span or a table's cell."""
    return "".join(c if c.isprintable() and c not in "`|" else "_" for c in text[:200])

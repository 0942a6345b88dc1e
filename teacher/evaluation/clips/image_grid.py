"""Pictures side by side, each under its caption."""

from PIL import Image, ImageDraw, ImageFont

GAP_PX, CAPTION_PX = 6, 20
INK = (24, 26, 30)


def in_a_row(pictures: list[Image.Image], captions: list[str], columns: int = 3) -> Image.Image:
    """Pictures of one size in rows, each under its caption."""
    width, height = pictures[0].size
    rows = -(-len(pictures) // columns)
    sheet = Image.new(
        "RGB", (columns * (width + GAP_PX) + GAP_PX, rows * (height + CAPTION_PX + GAP_PX) + GAP_PX), INK
    )
    brush, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for index, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        x = GAP_PX + (index % columns) * (width + GAP_PX)
        y = GAP_PX + (index // columns) * (height + CAPTION_PX + GAP_PX)
        brush.text((x + 2, y), caption, fill=(225, 228, 232), font=font)
        sheet.paste(picture, (x, y + CAPTION_PX))
    return sheet

"""What the row of a group's name tells of the crops that were shown: another grouping numbers the groups anew."""

CARRIED = "carried over"  # what a name has for `suggested` that went over from a group of the same crops


def shown_basis(item: dict) -> str:
    """What a row tells of what was shown, see `Decision.basis`.

    Args:
        item: row of schema QUEUE.
    """
    return f"{item['basis']}/{' '.join(item['box_ids'])}" if item["task"] == "group" else item["basis"]

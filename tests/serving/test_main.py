import gc

from serving.main import keep_out_of_collections


def test_what_is_held_is_kept_out_of_collections_and_what_was_left_behind_is_collected() -> None:
    class Node:
        gone = 0

        def __del__(self) -> None:
            Node.gone += 1

    try:
        keep_out_of_collections()
        ring = Node()
        ring.itself = ring
        keep_out_of_collections()
        assert gc.get_freeze_count() > 0
        del ring  # a cycle among what is frozen
        gc.collect()
        assert Node.gone == 0
        keep_out_of_collections()
        assert Node.gone == 1
    finally:
        gc.unfreeze()

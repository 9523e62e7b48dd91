"""Functions of neural networks."""

from flambeau.nn import _reduction as _Reduction  # noqa: F401
from flambeau.ops.attention import canonical_mask as _canonical_mask  # noqa: F401
from flambeau.ops.attention import dtype_or_none as _none_or_dtype  # noqa: F401
from flambeau.ops.attention import projected as _in_projection_packed  # noqa: F401
from flambeau.ops.grid import GRID_SAMPLE_INTERPOLATION_MODES, GRID_SAMPLE_PADDING_MODES  # noqa: F401
from flambeau.ops.norm import check_batch_size as _verify_batch_size  # noqa: F401
from flambeau.ops.operator import NAMESPACES
from flambeau.ops.softmax import implicit_dim as _get_softmax_dim  # noqa: F401

# Those above are no public names, but layers of other people's make use of them.
globals().update(NAMESPACES["nn.functional"])

// Stand-ins for the gloo headers that libtorch does not ship: `ProcessGroupGloo.hpp` names these types behind pointers only.
// Nothing here is constructed or called by this project, so no layout can disagree. To be looked at again with each libtorch.
#pragma once

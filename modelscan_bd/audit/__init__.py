"""What a file would do to whoever loads it, told without loading it and without torch.

`audit` chooses by content; a file's name is never asked. A reader of a format is a function
`remarks(data, place, budget)` that gives remarks, or None where the content is not of its format; one of all members of
an archive (TorchScript, pt2) is a function `remarks(members, place, budget)`. Both are listed in `contents`.
"""

from modelscan_bd.audit.contents import audit as audit
from modelscan_bd.audit.contents import examine as examine
from modelscan_bd.audit.remark import Budget as Budget
from modelscan_bd.audit.remark import Remark as Remark

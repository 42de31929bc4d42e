from probes.position.balance import Balance as Balance
from probes.position.balance import cross_modality_balance as cross_modality_balance
from probes.position.balance import mean_balance as mean_balance
from probes.position.rope import RopeSensitivity as RopeSensitivity
from probes.position.rope import rope_sensitivity as rope_sensitivity
from probes.position.rope_summary import RopeSummary as RopeSummary
from probes.position.rope_summary import mean_rope_sensitivity as mean_rope_sensitivity

from probes.position.balance import Balance as Balance
from probes.position.balance import cross_modality_balance as cross_modality_balance
from probes.position.balance import mean_balance as mean_balance

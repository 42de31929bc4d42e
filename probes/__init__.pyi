from probes.balance import Balance as Balance
from probes.balance import cross_modality_balance as cross_modality_balance
from probes.balance import mean_balance as mean_balance

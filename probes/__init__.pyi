from probes.position.balance import Balance as Balance
from probes.position.balance import cross_modality_balance as cross_modality_balance
from probes.position.balance import mean_balance as mean_balance
from probes.position.order import psi as psi
from probes.position.orders import OrderAnswers as OrderAnswers
from probes.position.orders import OrderMeasurement as OrderMeasurement
from probes.position.sensitivity import OrderSensitivity as OrderSensitivity
from probes.position.sensitivity import measure_sensitivity as measure_sensitivity

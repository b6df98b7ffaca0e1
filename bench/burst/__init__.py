"""A burst of events past what one machine can show: models of Azure's services, scenarios, and a plot."""

"""`pcim doctor`: will a campaign run on this machine and this cluster?"""

"""headstart: does self-supervised pretraining give my classifier a head start?"""
